#include "coefficients.h"

#include <algorithm>
#include <cmath>

namespace beyond {
namespace {

double bilinear(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

// Keys' cubic with a = -0.5, the one Pillow and torchvision's antialiased mode use.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double hamming(double x) {
  x = std::fabs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= M_PI;
  return std::sin(x) / x * (0.54 + 0.46 * std::cos(x));
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= M_PI;
  return std::sin(x) / x;
}

double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

struct Kernel {
  double (*weight)(double);
  double support;
};

// In the order of Filter.
constexpr Kernel kKernels[kFilters] = {{bilinear, 1.0}, {bicubic, 2.0}, {box, 0.5}, {hamming, 1.0}, {lanczos, 3.0}};

const Kernel& kernel_of(Filter filter) { return kKernels[static_cast<int>(filter)]; }

}  // namespace

bool AxisKey::operator==(const AxisKey& other) const {
  return in_size == other.in_size && start == other.start && end == other.end && resized == other.resized &&
         offset == other.offset && out_size == other.out_size && filter == other.filter;
}

void Axis::compute(const AxisKey& key) {
  if (key == key_) return;
  key_.out_size = 0;  // stays unequal to any key should an allocation below throw
  const double scale = (key.end - key.start) / key.resized;
  const double filter_scale = std::max(scale, 1.0);
  const double support = kernel_of(key.filter).support * filter_scale;
  const int widest = static_cast<int>(std::ceil(support)) * 2 + 1;
  stride_ = (widest + 3) / 4 * 4;
  const auto outputs = static_cast<size_t>(key.out_size);
  first_.assign(outputs, 0);
  count_.assign(outputs, 0);
  values_.assign(outputs * static_cast<size_t>(stride_), 0);
  weights_.resize(static_cast<size_t>(stride_));
  key_ = key;
  longest_ = 0;
  begin_ = key.in_size;
  end_ = 0;
  for (int i = 0; i < key.out_size; i++) {
    fill(i, scale, support, filter_scale);
    longest_ = std::max(longest_, count(i));
    begin_ = std::min(begin_, first(i));
    end_ = std::max(end_, last(i));
  }
  pack();
}

void Axis::fill(int i, double scale, double support, double filter_scale) {
  const double center = key_.start + (i + key_.offset + 0.5) * scale;
  const double inverse = 1.0 / filter_scale;
  const int from = std::max(static_cast<int>(center - support + 0.5), 0);
  const int to = std::min(static_cast<int>(center + support + 0.5), key_.in_size);
  double (*const weight)(double) = kernel_of(key_.filter).weight;
  double total = 0.0;
  for (int t = 0; t < to - from; t++) {
    weights_[static_cast<size_t>(t)] = weight((t + from - center + 0.5) * inverse);
    total += weights_[static_cast<size_t>(t)];
  }
  int* row = &values_[static_cast<size_t>(i) * static_cast<size_t>(stride_)];
  for (int t = 0; t < to - from; t++) {
    double w = weights_[static_cast<size_t>(t)];
    if (total != 0.0) w /= total;
    row[t] = static_cast<int>((w < 0 ? -0.5 : 0.5) + w * (1 << kPrecisionBits));
  }
  first_[static_cast<size_t>(i)] = from;
  count_[static_cast<size_t>(i)] = to - from;
}

void Axis::pack() {
  packed_.resize(values_.size());
  const auto low = [](int value) { return value & ((1 << kSplitBits) - 1); };
  const auto high = [](int value) { return value >> kSplitBits; };
  const auto pair = [](int first, int second) {
    return static_cast<int>((static_cast<unsigned>(first) & 0xffffu) | static_cast<unsigned>(second) << 16);
  };
  for (size_t quad = 0; quad < values_.size(); quad += 4) {
    const int* v = &values_[quad];
    int* to = &packed_[quad];
    to[0] = pair(low(v[0]), low(v[1]));
    to[1] = pair(low(v[2]), low(v[3]));
    to[2] = pair(high(v[0]), high(v[1]));
    to[3] = pair(high(v[2]), high(v[3]));
  }
}

}  // namespace beyond
