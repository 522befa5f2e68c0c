// Files that are either the old version or the whole new one, never something between: temporary
// file in the same directory, fsync, rename, fsync of the directory. Survives kill -9, a full disk
// and (as far as the file system keeps its promises) a power cut.
#pragma once
#include <string>
#include <string_view>

namespace kindred::harness {

/// Replaces `path` by `bytes`. On any failure throws Fault::io with the system's reason, after
/// removing the temporary file; what stood at `path` is untouched.
void atomic_write(const std::string& path, std::string_view bytes);

/// Points the symbolic link `link` at `target` (relative to the link's directory) in one step.
void atomic_symlink(const std::string& target, const std::string& link);

/// Whole content of a file; throws `Fault::io` with the reason if it cannot be read.
std::string read_file(const std::string& path);

/// Deletes what atomic_write left in `directory` when its process was killed: files named
/// ".<name>.tmp.<pid>" whose process is gone, or is this one (a container may reuse its pid; call
/// this before writing). Returns how many.
int remove_stale_temporaries(const std::string& directory);

}  // namespace kindred::harness
