// The side of a benchmark that does kindred's work: `kindred bench --worker ROW PRECISION THREADS`,
// a process of its own so that its memory and its threads are its own. Requests come as lines on
// standard input; each gets one line of JSON. Besides the requests that yardsticks answer too
// (losses N, steps K, memory, quit):
//   share DIR       writes what the yardstick starts from
//   count           one step's operations, bytes, system allocations, pool
//   products        times the matrix products of a step alone
//   stream          bytes a second of a triad
//   profile W K     costs of K steps by op, after W steps of warm-up
#pragma once

namespace kindred::apps::bench {

int worker(int argc, char** argv);

}  // namespace kindred::apps::bench
