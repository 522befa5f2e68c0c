// Shape: up to six dimensions kept inline (no heap), row-major everywhere.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <string>

#include "autodiff/check.h"

namespace kindred {

inline constexpr int kMaxRank = 6;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    for (int64_t d : dims) push_back(d);
  }
  int rank() const { return rank_; }
  /// Size of dimension i; negative i counts from the end.
  int64_t operator[](int i) const { return dims_[index(i)]; }
  int64_t& operator[](int i) { return dims_[index(i)]; }
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[i];
    return n;
  }
  void push_back(int64_t d) {
    check(rank_ < kMaxRank, "shape", "more than ", kMaxRank, " dimensions");
    dims_[rank_++] = d;
  }
  /// Copy with dimension i replaced by d.
  Shape with(int i, int64_t d) const {
    Shape s = *this;
    s[i] = d;
    return s;
  }
  /// Dimensions [first, last) as a shape of their own.
  Shape part(int first, int last) const {
    Shape s;
    for (int i = first; i < last; ++i) s.push_back(dims_[i]);
    return s;
  }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }
  friend bool operator==(const Shape& a, const Shape& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }
  /// "[12, 64, 128]"
  std::string str() const {
    std::string s = "[";
    for (int i = 0; i < rank_; ++i) s += (i ? ", " : "") + std::to_string(dims_[i]);
    return s + "]";
  }
  friend std::ostream& operator<<(std::ostream& out, const Shape& s) { return out << s.str(); }

 private:
  int index(int i) const {
    const int j = i < 0 ? i + rank_ : i;
    check(j >= 0 && j < rank_, "shape", "dimension ", i, " of ", *this);
    return j;
  }
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// NumPy broadcasting of two shapes; throws with both shapes when they do not fit.
Shape broadcast(const Shape& a, const Shape& b, const char* where);

}  // namespace kindred
