// Coefficients of the antialiased resize, computed as Pillow computes them for 8-bit images.
#pragma once

#include <cstdint>
#include <vector>

#include "params.h"

namespace beyond {

// Pillow's PRECISION_BITS: room for a sum of 8-bit pixels times coefficients in 32 bits.
constexpr int kPrecisionBits = 32 - 8 - 2;
constexpr int kRound = 1 << (kPrecisionBits - 1);
// A coefficient is split as high * 2^15 + low, so that 16-bit multiply-adds give the exact 32-bit sum.
constexpr int kSplitBits = 15;

struct AxisKey {
  int in_size;
  double start, end;  // the part of the input that becomes `resized` outputs
  int resized;
  int offset, out_size;  // the outputs that are wanted
  Filter filter;
  bool operator==(const AxisKey& other) const;
};

// One axis of a resize: output i is the sum of values[i * stride + t] * in[first[i] + t], t < count[i].
// Rows of `values` are padded with zeros to `stride`, a multiple of four.
class Axis {
 public:
  // Does nothing if the key is that of the last call: neighbours in a stream are often of one size.
  void compute(const AxisKey& key);

  int out_size() const { return key_.out_size; }
  int stride() const { return stride_; }
  int longest() const { return longest_; }
  int first(int i) const { return first_[static_cast<size_t>(i)]; }
  int count(int i) const { return count_[static_cast<size_t>(i)]; }
  int last(int i) const { return first(i) + count(i); }
  const int* row(int i) const { return &values_[static_cast<size_t>(i) * static_cast<size_t>(stride_)]; }
  // Range of input touched by any output.
  int begin() const { return begin_; }
  int end() const { return end_; }
  // Per output and four taps t: the low halves of taps 0 and 1, of 2 and 3, then the high halves alike, each
  // pair in one 32-bit word as the 16-bit multiply-add takes it.
  const int* packed(int i) const { return &packed_[static_cast<size_t>(i) * static_cast<size_t>(stride_)]; }

 private:
  void fill(int i, double scale, double support, double filter_scale);
  void pack();

  AxisKey key_{0, 0, 0, 0, 0, 0, Filter::kBilinear};
  int stride_ = 0, longest_ = 0, begin_ = 0, end_ = 0;
  std::vector<int> first_, count_, values_, packed_;
  std::vector<double> weights_;
};

}  // namespace beyond
