// describe: a struct names its fields once, and every traversal comes from that one place.
//
//   struct Linear {
//     nn::Parameter weight;
//     std::optional<nn::Parameter> bias;
//     template <class Self, class V> static void describe(Self& self, V& visit) {
//       visit("weight", self.weight);
//       visit("bias", self.bias);
//     }
//   };
//   struct Config {
//     int64_t layers = 4;
//     template <class Self, class V> static void describe(Self& self, V& visit) {
//       visit("layers", self.layers, "number of blocks");
//     }
//   };
#pragma once
#include <concepts>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace kindred {

struct AnyVisitor {
  template <class... Args>
  void operator()(Args&&...) {}
};

template <class T>
concept Described = requires(T& object, AnyVisitor& visitor) {
  std::remove_const_t<T>::describe(object, visitor);
};

template <Described T, class V>
void describe(T& object, V&& visitor) {
  std::remove_const_t<T>::describe(object, visitor);
}

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;

/// Walks modules down to values of type Leaf: leaf("blocks.0.attention.qkv.weight", value).
template <class Leaf, class F>
class LeafWalk {
 public:
  LeafWalk(std::string prefix, F& leaf) : prefix_(std::move(prefix)), leaf_(leaf) {}

  template <class T, class... Help>
  void operator()(const std::string& name, T& field, Help&&...) {
    using Bare = std::remove_const_t<T>;
    const std::string path = prefix_.empty() ? name : prefix_ + "." + name;
    if constexpr (std::is_same_v<Bare, Leaf>) {
      leaf_(path, field);
    } else if constexpr (is_optional<Bare>) {
      if (field) (*this)(name, *field);
    } else if constexpr (is_vector<Bare>) {
      LeafWalk inner(path, leaf_);
      for (std::size_t i = 0; i < field.size(); ++i) inner(std::to_string(i), field[i]);
    } else if constexpr (Described<T>) {
      LeafWalk inner(path, leaf_);
      describe(field, inner);
    }  // anything else (numbers, enums) is not a leaf of this walk
  }

 private:
  std::string prefix_;
  F& leaf_;
};

template <class Leaf, Described Module, class F>
void for_each_leaf(Module& module, const std::string& prefix, F&& leaf) {
  LeafWalk<Leaf, std::remove_reference_t<F>> walk(prefix, leaf);
  describe(module, walk);
}

}  // namespace kindred
