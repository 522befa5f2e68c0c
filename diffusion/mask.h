// The objective "mask": absorbing discrete diffusion of symbols (mask_process.h) on any backbone
// that reads both ways. The MASK symbol stands on the input side only, so the network gives it no
// mass, and positions that are not hidden are copied (SUBS, Sahoo et al. 2024).
//   Text: a window is the symbol before it, which is never hidden, and length symbols behind it. So
//   the same symbols are modelled after the same context as by the autoregressive objective.
//   Images and quantised points: one sequence of pixels without context.
// Shapes: B batch, P positions (length, for text length + 1), C width, V alphabet.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "diffusion/mask_config.h"
#include "diffusion/mask_process.h"
#include "harness/decode.h"
#include "harness/objective.h"
#include "harness/symbols.h"

namespace kindred::diffusion {

class MaskObjective final : public harness::Objective {
 public:
  /// Usage error for data that are not symbols, and for options that are not known.
  MaskObjective(const data::DataSpec& spec, const MaskConfig& config,
                const harness::SymbolConfig& symbols, int64_t width,
                const harness::BackboneEntry& entry, harness::Settings& settings, const Rng& rng);

  /// The bound in nats per symbol, estimated with one draw of what is hidden for each element; the
  /// draws are spread evenly over a batch.
  Tensor loss(const data::Batch& batch, const Rng& rng, bool training) const override;

  /// Kind bound. Text: over every target of the split's stream once, in the windows and blocks of
  /// the autoregressive objective. Metrics bpc_l2r (bpd_l2r for images), the exact codelength of
  /// the order from left to right on some windows, with bpc_l2r_se; draw_std_error, the part of
  /// the standard error that more draws would remove.
  harness::Likelihood likelihood(const data::Dataset& data, data::Split split, const Rng& rng,
                                 const harness::LikelihoodOptions& options) const override;

  /// As the autoregressive objective: the `length` symbols behind the prompt, or whole elements
  /// whose first symbols are the prompt. With `fill` instead the whole of it, its gaps filled.
  /// Longer text goes on window by window from the last half of the one before. `trace` gets t and
  /// the symbols i32 [n, length], V where one is hidden.
  Tensor sample(const Rng& rng, const harness::SampleOptions& options) const override;

  std::vector<nn::NamedParameter> parameters() override;
  std::vector<std::pair<std::string, std::string>> aliases() const override;
  double expected_initial_loss() const override;

  /// Logits [B, P, V]; inputs i32 [B, P], V for a hidden symbol.
  Tensor logits(const Tensor& inputs, const harness::Context& context) const;

  /// Symbols [0, length) of which the first `known` are given and the others modelled.
  struct Stretch {
    const int32_t* symbols;
    int64_t length, known;
    int64_t modelled() const { return length - known; }
  };
  struct Scores {
    std::vector<double> nats;  ///< of the modelled symbols of all stretches, one after another
    double draw_variance = 0;  ///< of their sum; rather too large, as draws are spread evenly
  };
  /// The bound; item i draws from rng.split(i). `done` (may be empty) hears how many are scored.
  Scores bound(std::span<const Stretch> items, const Rng& rng,
               const harness::LikelihoodOptions& options,
               const std::function<void(int64_t)>& done = {}) const;
  /// -ln p of each modelled symbol when they are shown from left to right.
  std::vector<double> left_to_right(std::span<const Stretch> items,
                                    const harness::LikelihoodOptions& options) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("embedding", self.layers_.embedding);
    visit("mask", self.mask_);
    visit("head", self.layers_.head);
  }

 private:
  /// What the network gets and what is asked of it.
  struct Rows {
    Tensor inputs;   ///< i32 [B, P]
    Tensor targets;  ///< i32 [B, P], -1 where nothing is asked
    Tensor weights;  ///< f32 [B, P]: of the losses, 0 where nothing is asked
    Tensor time;     ///< f32 [B]
  };
  Rows empty_rows(int64_t B) const;
  /// Row b: a stretch of which some modelled symbols are hidden; each hidden loss weighs `weight`.
  void set_row(Rows& rows, int64_t b, const Stretch& stretch, const Hiding& hiding,
               double weight) const;
  bool text() const { return spec_.modality == data::Modality::text; }
  int64_t timesteps() const { return loss_ == Loss::d3pm ? config_.timesteps : 0; }
  /// Backbone outputs [B, P, C]; context.time is ignored by a network that is not told it.
  Tensor hidden_states(const Tensor& inputs, const harness::Context& context) const;
  /// Logits [m, V] at `places` of the flattened [B * P].
  Tensor logits_at(const Tensor& inputs, const harness::Context& context,
                   std::span<const int32_t> places) const;
  std::string bound_note() const;
  /// Metrics of some of the items, spread evenly: at most `l2r` of them and, but for the first, not
  /// more network evaluations than `allowed`.
  void add_left_to_right(std::span<const Stretch> items, int64_t allowed,
                         const harness::LikelihoodOptions& options,
                         harness::Likelihood& result) const;

  /// How hidden symbols appear.
  enum class Order { ancestral, random, left_to_right };
  struct Drawing {
    harness::DecodeOptions decode;
    Order order;
    int64_t steps;
    int64_t first = 0;  ///< number of the sample in row 0, for `trace`
    std::function<void(int64_t, double, int64_t, const Tensor&)> trace = {};
    std::function<void()> evaluated = {};  ///< called after each network evaluation
  };
  Drawing drawing(const harness::SampleOptions& options) const;
  /// A symbol appears in row `row` at `position`.
  struct Event {
    int64_t row, position;
  };
  /// Draws the positions `open` of state i32 [n, P], all hidden. Row b draws from streams[b].
  void fill(Tensor& state, std::span<const int64_t> open, std::span<const Rng> streams,
            const Drawing& how) const;
  /// Draws the symbols of events, which are ordered by row, at time t.
  void show(Tensor& state, std::span<const Event> events, double time, std::span<const Rng> streams,
            const Drawing& how) const;
  /// Symbols behind a prompt, window by window; or whole elements that begin with it.
  Tensor continued(std::span<const int32_t> prompt, int64_t wanted, std::span<const Rng> streams,
                   const Drawing& how) const;
  /// `given` with its gaps filled.
  Tensor filled(std::span<const int32_t> given, std::span<const Rng> streams,
                const Drawing& how) const;

  enum class Loss { mdlm, d3pm, sedd };
  data::DataSpec spec_;
  MaskConfig config_;
  Loss loss_;
  bool count_masking_, sum_bound_;
  int64_t alphabet_, context_, positions_;  ///< context_: symbols in front, 1 for text
  harness::SymbolLayers layers_;
  nn::Parameter mask_;  ///< [C]: what stands for a hidden symbol
  harness::AnyBackbone backbone_;
  MaskProcess process_;  ///< of whole elements or windows
};

}  // namespace kindred::diffusion
