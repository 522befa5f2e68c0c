// Arithmetic on named results, as the figures of an experiment are written:
//   100 * (hippo.accuracy - random.accuracy)
// Numbers, names (letters, digits, _ and dots between them), + - * / and parentheses.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace kindred::harness {

class Expression {
 public:
  Expression() = default;
  /// Usage error that names `where` (the key and its file) and the place in the text.
  Expression(const std::string& text, const std::string& where);

  const std::string& text() const { return text_; }
  /// Every name once, in order of appearance.
  std::vector<std::string> names() const;
  /// NaN or infinite where the arithmetic is; what `value_of` throws passes through.
  double value(const std::function<double(const std::string& name)>& value_of) const;

 private:
  friend class ExpressionParser;
  /// Postfix: operands are pushed, an operator takes the two on top (~ is the negative of one).
  struct Step {
    char kind;  ///< n(umber), v(ariable), + - * / ~
    double number = 0;
    std::string name = {};
  };
  std::string text_;
  std::vector<Step> steps_;
};

}  // namespace kindred::harness
