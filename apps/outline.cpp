#include "apps/outline.h"

#include "data/recipe.h"

namespace kindred::apps {

namespace {

class Outline final : public data::Dataset {
 public:
  Outline(const data::Recipe& recipe, const data::DataOptions& options) {
    const bool text = recipe.modality == data::Modality::text;
    const int64_t side = options.size > 0 ? options.size : recipe.height > 0 ? recipe.height : 28;
    spec_.name = recipe.name;
    spec_.modality = recipe.modality;
    spec_.levels = options.levels > 0 ? options.levels : recipe.levels > 0 ? recipe.levels : 256;
    spec_.height = text ? 1 : side;
    spec_.width = text ? 1 : side;
    spec_.length = text ? options.context : side * side;
    spec_.ordered = !text;
    spec_.classes = text ? 0 : 10;  // every known set of images has the ten classes of its kind
    spec_.targets = text ? 0 : 1;
  }
  const data::DataSpec& spec() const override { return spec_; }
  int64_t size(data::Split) const override { return 0; }
  data::Batch elements(data::Split, int64_t, int64_t) const override {
    fail(Fault::usage, "data", "no elements");
  }
  data::Batch batch(data::Split, const Rng&, int64_t, int64_t) const override {
    fail(Fault::usage, "data", "no elements");
  }

 private:
  data::DataSpec spec_;
};

}  // namespace

std::shared_ptr<const data::Dataset> data_outline(const data::DataOptions& options) {
  const data::Recipe* recipe = data::find_recipe(options.name);
  return recipe ? std::make_shared<Outline>(*recipe, options) : nullptr;
}

}  // namespace kindred::apps
