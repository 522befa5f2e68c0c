#include "harness/sample_quality.h"

#include <algorithm>

#include "autodiff/graph.h"
#include "data/permutation.h"
#include "harness/sample_frechet.h"
#include "harness/sample_mmd.h"
#include "harness/sample_neighbours.h"
#include "harness/sample_sliced.h"
#include "harness/snapshot.h"

namespace kindred::harness {

namespace {
constexpr const char* kWhere = "samples";
constexpr const char* kSamples = "--samples";
constexpr int64_t kCount = 2000;
constexpr int64_t kLeast = 10;         // samples: twice the neighbours of density and coverage
constexpr int64_t kFrechetDims = 256;  // above, covariances of some thousand elements say little
const Rng kHeldOut = Rng(0).split("held-out elements");

/// n, checked against the size of the held-out split.
int64_t checked_count(int64_t n, int64_t held_out) {
  check(n >= kLeast, kSamples, n, " samples of ", held_out,
        " held-out elements; neighbourhoods of ", kLeast / 2, " need ", kLeast,
        " samples and twice as many elements or more");
  check(n <= held_out / 2, kSamples, n,
        " samples need twice as many held-out elements (real against real), and there are ",
        held_out, "; take ", held_out / 2, " or fewer");
  return n;
}

/// Symbols or values of one element each as a batch.
data::Batch as_batch(const Tensor& elements) {
  data::Batch batch;
  (elements.dtype() == DType::i32 ? batch.symbols : batch.values) = elements;
  return batch;
}

/// Elements of a split by number, [n, length] i32 or f32.
Tensor gather(const data::Dataset& data, data::Split split, const data::Permutation& order,
              int64_t first, int64_t n) {
  const data::DataSpec& spec = data.spec();
  Tensor out = Tensor::empty({n, spec.length}, spec.levels > 0 ? DType::i32 : DType::f32);
  for (int64_t i = 0; i < n; ++i) {
    const data::Batch one = data.elements(split, order(first + i), 1);
    if (spec.levels > 0)
      std::copy_n(one.symbols.data<int32_t>(), spec.length,
                  out.mutable_data<int32_t>() + i * spec.length);
    else
      std::copy_n(one.values.data<float>(), spec.length,
                  out.mutable_data<float>() + i * spec.length);
  }
  return out;
}

/// Levels on [0, 1], real values as they are: [n, length] f64.
Tensor values_of(const Tensor& elements, const data::DataSpec& spec) {
  Tensor values = elements.to(DType::f64);
  if (spec.levels > 1) {
    double* v = values.mutable_data<double>();
    for (int64_t i = 0; i < values.numel(); ++i) v[i] /= static_cast<double>(spec.levels - 1);
  }
  return values;
}

/// What a classifier makes of elements, one target each.
struct Seen {
  Tensor features;  ///< [n, C] f32
  Tensor logits;    ///< [n, K] f32
};
Seen look_at(Run& classifier, const Tensor& elements) {
  const int64_t n = elements.dim(0), L = elements.dim(1);
  const int64_t chunk = std::max<int64_t>(1, classifier.eval_options().batch);
  Seen seen;
  for (int64_t first = 0; first < n; first += chunk) {
    const int64_t count = std::min(chunk, n - first);
    const data::Batch batch = as_batch(Tensor::view(elements, first * L, {count, L}));
    const Tensor features = classifier.features(batch), logits = classifier.predict(batch);
    if (first == 0) {
      seen.features = Tensor::empty({n, features.numel() / count});
      seen.logits = Tensor::empty({n, logits.numel() / count});
    }
    std::copy_n(features.data<float>(), features.numel(),
                seen.features.mutable_data<float>() + first * seen.features.dim(1));
    std::copy_n(logits.data<float>(), logits.numel(),
                seen.logits.mutable_data<float>() + first * seen.logits.dim(1));
  }
  return seen;
}

std::string shape_of(const data::DataSpec& spec) {
  return std::to_string(spec.height) + "x" + std::to_string(spec.width) + " of " +
         std::to_string(spec.levels) + " levels";
}

void check_classifier(Run& classifier, const data::DataSpec& spec) {
  const data::DataSpec& own = classifier.spec();
  check(spec.modality == data::Modality::image, "--classifier", "judges images; the model draws ",
        data::name(spec.modality), " (", spec.name, ")");
  check(own.modality == data::Modality::image && own.classes > 0, "--classifier", "was trained on ",
        own.name, ", which are no images with labels");
  check(own.height == spec.height && own.width == spec.width && own.levels == spec.levels &&
            own.channels == spec.channels,
        "--classifier", "was trained on images ", shape_of(own), " (", own.name,
        "), the model draws ", shape_of(spec), " (", spec.name, ")");
  // A model that has no features says so here, not after the samples have been drawn.
  classifier.features(classifier.dataset().elements(data::Split::train, 0, 1));
  check(own.sha256 == spec.sha256, "--classifier", "was trained on ", own.name, ", the model on ",
        spec.name, "; train one on the same data");
}

void check_data(const data::DataSpec& spec, Run* classifier) {
  check(spec.modality == data::Modality::image || spec.modality == data::Modality::points, kWhere,
        "these figures are of images and points; ", spec.name, " is ", data::name(spec.modality),
        ": score it without --samples");
  if (classifier) check_classifier(*classifier, spec);
}

/// Of the weights that are used: the averages where there are any, unless eval.average = false.
std::string weights_digest(Run& run) {
  Snapshot snapshot = run.capture();
  if (run.eval_options().average && !snapshot.averages.empty())
    for (SnapshotTensor& p : snapshot.parameters)
      for (const PathTensor& average : snapshot.averages[0].tensors)
        if (average.path == p.path) p.value = average.value;
  return parameter_digest(snapshot);
}

SampleSpace compare_in(const std::string& name, const Tensor& real, const Tensor& other_real,
                       const Tensor& samples) {
  SampleSpace space{name, real.dim(1), {}, {}};
  space.samples = two_sample_figures(sample_pairs(real, samples));
  space.real = two_sample_figures(sample_pairs(real, other_real));
  return space;
}

/// One pass over the training elements serves samples and both sets of held-out elements.
void judge_memory(const Tensor& samples, const Tensor& held_out, const Tensor& other_real,
                  const data::Dataset& data, SampleQuality& quality) {
  const data::DataSpec& spec = data.spec();
  const int64_t n = samples.dim(0), L = spec.length;
  Tensor all = Tensor::empty({3 * n, L}, DType::f64);
  int64_t at = 0;
  for (const Tensor* set : {&samples, &held_out, &other_real})
    std::copy_n(set->data<double>(), n * L, all.mutable_data<double>() + n * L * at++);
  const std::vector<double> nearest =
      nearest_distances(all, data.size(data::Split::train), [&](int64_t first, int64_t count) {
        const data::Batch batch = data.elements(data::Split::train, first, count);
        return values_of(spec.levels > 0 ? batch.symbols : batch.values, spec);
      });
  const auto of = [&](int64_t set) {
    return std::vector<double>(nearest.begin() + set * n, nearest.begin() + (set + 1) * n);
  };
  quality.memory = memorisation(of(0), of(1));
  quality.memory_real = memorisation(of(2), of(1));
}
}  // namespace

TwoSampleFigures two_sample_figures(const SamplePairs& pairs) {
  TwoSampleFigures f;
  const Support s = support(pairs);  // first: it knows how many elements are needed
  f.precision = s.precision;
  f.recall = s.recall;
  f.density = s.density;
  f.coverage = s.coverage;
  const Mmd cubic = mmd_cubic(pairs), rbf = mmd_rbf(pairs);
  f.mmd_cubic = cubic.squared;
  f.mmd_cubic_p = cubic.p_value;
  f.mmd_rbf = rbf.squared;
  f.mmd_rbf_p = rbf.p_value;
  f.sliced_w2 = sliced_wasserstein(pairs);
  const NeighbourTest nearest = neighbour_test(pairs);
  f.nn_accuracy = nearest.accuracy;
  f.nn_std_error = nearest.std_error;
  if (pairs.dims <= kFrechetDims) {
    const int64_t D = pairs.dims;
    f.frechet =
        frechet_distance(gaussian_moments(Tensor::view(pairs.rows, 0, {pairs.n, D})),
                         gaussian_moments(Tensor::view(pairs.rows, pairs.n * D, {pairs.m, D})));
  }
  return f;
}

SampleQuality judge_samples(const Tensor& samples, const data::Dataset& data, data::Split split,
                            Run* classifier) {
  const NoGrad no_graph;
  const data::DataSpec& spec = data.spec();
  check_data(spec, classifier);
  check(samples.defined() && samples.rank() == 2 && samples.dim(1) == spec.length, kWhere,
        "wants samples [N, ", spec.length, "], got ",
        samples.defined() ? samples.shape().str() : "none");
  const int64_t n = checked_count(samples.dim(0), data.size(split));
  // Held-out elements in random order: files may be sorted by class or writer.
  const data::Permutation order(data.size(split), kHeldOut);
  const Tensor real = gather(data, split, order, 0, n);
  const Tensor other_real = gather(data, split, order, n, n);

  SampleQuality quality{.data = spec.name, .split = data::name(split), .count = n};
  const Tensor values = values_of(samples, spec), held_out = values_of(real, spec),
               other_values = values_of(other_real, spec);
  quality.spaces.push_back(compare_in("values", held_out, other_values, values));
  judge_memory(values, held_out, other_values, data, quality);
  if (!classifier) return quality;
  const Seen seen = look_at(*classifier, samples), seen_real = look_at(*classifier, real),
             seen_other = look_at(*classifier, other_real);
  quality.spaces.push_back(
      compare_in("features", seen_real.features, seen_other.features, seen.features));
  ClassifierFigures c;
  c.family = classifier->family().str();
  c.weights_sha256 = weights_digest(*classifier);
  c.accuracy = classifier
                   ->evaluate({.batch = classifier->eval_options().batch, .progress = {}},
                              classifier->eval_split())
                   .metric("accuracy");
  const std::vector<int64_t> expected = class_histogram(seen_real.logits);
  c.samples = class_histogram(seen.logits);
  c.real = class_histogram(seen_other.logits);
  c.divergence = class_divergence(c.samples, expected);
  c.divergence_real = class_divergence(c.real, expected);
  quality.classifier = std::move(c);
  return quality;
}

namespace {
/// How many samples of a run to judge, when all that is asked for can be done.
int64_t checked_request(Run& run, int64_t count, Run* classifier) {
  check(run.objective().draws(), kWhere, run.family().str(),
        " has nothing to draw, so there are no samples to judge");
  check_data(run.spec(), classifier);
  check(count >= 0, kSamples, count, " samples");
  const int64_t held_out = run.dataset().size(run.eval_split());
  return checked_count(count > 0 ? count : std::min(kCount, held_out / 2), held_out);
}
}  // namespace

SampleQuality sample_quality(Run& run, const SampleQualityOptions& options, Run* classifier) {
  SampleOptions sampling = options.sampling;
  sampling.count = checked_request(run, options.count, classifier);
  return judge_samples(run.sample(sampling, options.seed), run.dataset(), run.eval_split(),
                       classifier);
}

std::vector<std::string> sample_metric_names(Run& run, int64_t count, Run* classifier) {
  checked_request(run, count, classifier);
  SampleQuality nothing;
  const auto add_space = [&](const char* name, int64_t dims) {
    nothing.spaces.push_back({name, dims, {}, {}});
    if (dims <= kFrechetDims)
      nothing.spaces.back().samples.frechet = nothing.spaces.back().real.frechet = 0;
  };
  add_space("values", run.spec().length);
  if (classifier) {
    add_space(
        "features",
        classifier->features(classifier->dataset().elements(data::Split::train, 0, 1)).numel());
    nothing.classifier.emplace();
  }
  std::vector<std::string> names;
  for (const SampleMetric& m : sample_metrics(nothing))
    for (const char* end : {"", "_real"}) names.push_back(m.space + "." + m.name + end);
  return names;
}

}  // namespace kindred::harness
