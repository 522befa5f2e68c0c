// Coupling flow: an invertible map z = f(x), layer by layer on two parts (a, b) of the dimensions
// that change places from one layer to the next,
//   additive  b <- b + t(a)                             (NICE: Dinh, Krueger and Bengio 2014)
//   affine    b <- b exp(s(a)) + t(a), s = c tanh(r/c)  (Dinh, Sohl-Dickstein and Bengio 2016)
// and at last z = h exp(5 w), w learned. t and r are outputs of a network of any kind. The Jacobian
// is triangular:
//   log |det dz/dx| = sum of all s + 5 sum of w.   B rows, D dimensions (H W C of an image).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "harness/backbone.h"

namespace kindred::diffusion {

struct CouplingConfig {
  int64_t layers = 4;
  std::string coupling = "affine", partition = "checkerboard", layout = "auto";
  double clamp = 2;
  bool scale = true;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("layers", self.layers, "couplings, each with a network of its own; at least 2");
    visit("coupling", self.coupling, "additive (NICE: volume-preserving) or affine (RealNVP)");
    visit(
        "partition", self.partition,
        "parts that condition each other: checkerboard (of pixels; every other dimension of "
        "points), alternating (every other one of the flattened image), halves, or shuffled (other "
        "random halves in each layer, fixed by the seed)");
    visit("layout", self.layout,
          "what a network sees: split (one part, as a sequence), masked (the image with zeros for "
          "the "
          "other part), or auto (masked for backbones that take images only)");
    visit("clamp", self.clamp, "affine: bound c of a layer's log-scale");
    visit("scale", self.scale, "learned scale of each dimension after the last coupling");
  }
};

enum class Partition { checkerboard, alternating, halves, shuffled };

/// Makes a network for one coupling.
using NetworkMaker = std::function<harness::AnyBackbone(const harness::BackboneSpec&, const Rng&)>;

class CouplingFlow {
 public:
  /// For elements of height x width x channels numbers. Usage error for fewer than 2 layers or
  /// numbers, and where `network` refuses.
  static CouplingFlow make(int64_t height, int64_t width, int64_t channels,
                           const CouplingConfig& config, const NetworkMaker& network,
                           const Rng& rng);

  struct Mapped {
    Tensor z;        ///< [B, D]
    Tensor log_det;  ///< [B]: log |det dz/dx|
  };
  /// x [B, D], of the dtype of the parameters. The rows of z are in an order of their own.
  Mapped forward(const Tensor& x, const harness::Context& context) const;
  /// x with forward(x).z = z, up to rounding.
  Tensor inverse(const Tensor& z) const;

  int64_t dims() const { return height_ * width_ * channels_; }
  bool masked() const { return masked_; }
  int64_t layers() const { return static_cast<int64_t>(networks_.size()); }
  void parameters(const std::string& prefix, std::vector<nn::NamedParameter>& out);

 private:
  struct Shift {
    Tensor s, t;  ///< [B, dimensions that change]; s undefined where additive
  };
  bool shuffled() const { return order_.value.dim(0) > 1; }
  /// Dimensions of parts a and b in layer l, one after the other, as indices: i32 [D].
  Tensor order(int64_t layer) const;
  /// 1 for the dimensions that layer l reads and leaves as they are, [D].
  Tensor kept(int64_t layer, DType dtype) const;
  Shift masked_shift(int64_t layer, const Tensor& h, const harness::Context& context) const;
  Shift split_shift(int64_t layer, const Tensor& kept, int64_t changed,
                    const harness::Context& context) const;
  Shift shift_of(const Tensor& out, int64_t values) const;

  int64_t height_ = 1, width_ = 1, channels_ = 1;
  int64_t first_ = 0;  ///< dimensions in part a
  bool affine_ = false, masked_ = false;
  double clamp_ = 0;
  std::vector<harness::AnyBackbone> networks_;
  nn::Parameter order_;  ///< i32 [1 or layers, D], a buffer
  nn::Parameter scale_;  ///< w [D]; undefined without scale
};

}  // namespace kindred::diffusion
