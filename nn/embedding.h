// Embedding: rows of a learned table; index i32 [...], table [V, C], result [..., C].
#pragma once
#include "nn/init.h"

namespace kindred::nn {

struct Embedding {
  Parameter table;  ///< [V, C]

  /// Rows normal(0, std), from rng.split("table").
  static Embedding make(int64_t rows, int64_t width, const Rng& rng, double std = 0.02,
                        DType dtype = DType::f32);

  /// Throws if an index is outside [0, V).
  Tensor operator()(const Tensor& index) const;
  /// The table as an output head (weights tied, Press and Wolf 2017): x [..., C] -> [..., V].
  Tensor as_head(const Tensor& x) const;
  int64_t rows() const { return table.value.dim(0); }
  int64_t width() const { return table.value.dim(1); }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("table", self.table);
  }
};

}  // namespace kindred::nn
