#include "harness/expression.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "autodiff/check.h"

namespace kindred::harness {

/// Recursive descent: sum = product {(+|-) product}, product = factor {(*|/) factor},
/// factor = -factor | (sum) | number | name.
class ExpressionParser {
 public:
  ExpressionParser(Expression& out, const std::string& where)
      : out_(out), text_(out.text_), where_(where) {}
  void parse() {
    sum();
    skip();
    if (at_ < text_.size()) wrong("an operator");
  }

 private:
  void sum() {
    product();
    for (char op; (op = any_of("+-")) != 0; push(op)) product();
  }
  void product() {
    factor();
    for (char op; (op = any_of("*/")) != 0; push(op)) factor();
  }
  void factor() {
    constexpr int kDeepest = 100;
    if (++depth_ > kDeepest) wrong("fewer nested parentheses");
    if (any_of("-")) {
      factor();
      push('~');
    } else if (any_of("(")) {
      sum();
      if (!any_of(")")) wrong("a closing parenthesis");
    } else {
      operand();
    }
    --depth_;
  }
  void operand() {
    skip();
    const char first = at_ < text_.size() ? text_[at_] : '\0';
    if (std::isdigit(static_cast<unsigned char>(first))) {
      double number = 0;
      const auto [end, error] =
          std::from_chars(text_.data() + at_, text_.data() + text_.size(), number);
      if (error != std::errc()) wrong("a number");
      at_ = static_cast<std::size_t>(end - text_.data());
      out_.steps_.push_back({'n', number});
    } else if (std::isalpha(static_cast<unsigned char>(first)) || first == '_') {
      const auto of_name = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.'; };
      const auto begin = text_.begin() + static_cast<std::ptrdiff_t>(at_);
      const auto end = std::find_if_not(begin, text_.end(), of_name);
      at_ += static_cast<std::size_t>(end - begin);
      out_.steps_.push_back({'v', 0, {begin, end}});
    } else {
      wrong("a number or the name of a result");
    }
  }
  void skip() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  /// The next character if it is one of these, taken; 0 otherwise.
  char any_of(const char* those) {
    skip();
    if (at_ == text_.size() || std::string(those).find(text_[at_]) == std::string::npos) return 0;
    return text_[at_++];
  }
  void push(char op) { out_.steps_.push_back({op}); }
  [[noreturn]] void wrong(const char* expected) const {
    fail(Fault::usage, "figure", where_, " = \"", text_, "\": expected ", expected,
         at_ < text_.size() ? " at \"" + text_.substr(at_) + "\"" : std::string(" at the end"));
  }

  Expression& out_;
  const std::string& text_;
  const std::string& where_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

Expression::Expression(const std::string& text, const std::string& where) : text_(text) {
  ExpressionParser(*this, where).parse();
}

std::vector<std::string> Expression::names() const {
  std::vector<std::string> all;
  for (const Step& s : steps_)
    if (s.kind == 'v' && std::find(all.begin(), all.end(), s.name) == all.end())
      all.push_back(s.name);
  return all;
}

double Expression::value(const std::function<double(const std::string&)>& value_of) const {
  std::vector<double> stack;
  for (const Step& s : steps_) {
    if (s.kind == 'n') {
      stack.push_back(s.number);
      continue;
    }
    if (s.kind == 'v') {
      stack.push_back(value_of(s.name));
      continue;
    }
    const double b = stack.back();
    if (s.kind == '~') {
      stack.back() = -b;
      continue;
    }
    stack.pop_back();
    double& a = stack.back();
    a = s.kind == '+' ? a + b : s.kind == '-' ? a - b : s.kind == '*' ? a * b : a / b;
  }
  return stack.back();
}

}  // namespace kindred::harness
