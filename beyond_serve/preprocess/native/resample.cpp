#include "resample.h"

#include <algorithm>

namespace beyond {
namespace {

uint8_t narrow(int sum) { return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255)); }

void horizontal_row(const uint8_t* from, uint8_t* to, const Axis& axis, int left) {
  for (int i = 0; i < axis.out_size(); i++, to += 3) {
    const uint8_t* pixel = from + static_cast<ptrdiff_t>(axis.first(i) - left) * 4;
    const int* taps = axis.row(i);
    int red = kRound, green = kRound, blue = kRound;
    for (int t = 0; t < axis.count(i); t++, pixel += 4) {
      red += pixel[0] * taps[t];
      green += pixel[1] * taps[t];
      blue += pixel[2] * taps[t];
    }
    to[0] = narrow(red);
    to[1] = narrow(green);
    to[2] = narrow(blue);
  }
}

void horizontal(const uint8_t* const* from, uint8_t* const* to, int rows, const Axis& axis, int left) {
  for (int r = 0; r < rows; r++) horizontal_row(from[r], to[r], axis, left);
}

void vertical(const uint8_t* const* rows, const Axis& axis, int y, uint8_t* to, int bytes) {
  const int* taps = axis.row(y);
  const int count = axis.count(y);
  constexpr int kBlock = 64;  // sums of one block stay in registers once vectorised
  for (int base = 0; base < bytes; base += kBlock) {
    const int n = std::min(kBlock, bytes - base);
    int sums[kBlock];
    std::fill(sums, sums + kBlock, kRound);
    for (int t = 0; t < count; t++) {
      const uint8_t* row = rows[t] + base;
      for (int i = 0; i < n; i++) sums[i] += row[i] * taps[t];
    }
    for (int i = 0; i < n; i++) to[base + i] = narrow(sums[i]);
  }
}

constexpr Passes kGeneric{"generic", horizontal, vertical};

}  // namespace

const Passes& generic_passes() { return kGeneric; }

const Passes& passes() {
  static const Passes& best = avx2_passes() ? *avx2_passes() : kGeneric;
  return best;
}

}  // namespace beyond
