// AVX2 passes, bit-equal to the generic ones.
//
// A product of a pixel and a 22-bit coefficient needs 32-bit multiplies, which are slow. Each coefficient is
// therefore split into a low half of 15 bits and a high half; pairs of taps go through the 16-bit
// multiply-add, and (high << 15) + low is the exact sum modulo 2^32, whose true value fits in 32 bits.
#include "resample.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#define BEYOND_AVX2 __attribute__((target("avx2")))

namespace beyond {
namespace {

struct Sums {
  __m256i low, high;
};

// Pixels of four taps, RGBX RGBX RGBX RGBX, become 16-bit pairs: lane 0 holds taps 0 and 1 of each channel,
// lane 1 taps 2 and 3.
BEYOND_AVX2 inline __m256i pair_shuffle() {
  return _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1,  //
                          8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1);
}

BEYOND_AVX2 inline void accumulate(Sums& sums, const uint8_t* pixels, __m256i low, __m256i high, __m256i shuffle) {
  const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels));
  const __m256i pairs = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(four), shuffle);
  sums.low = _mm256_add_epi32(sums.low, _mm256_madd_epi16(pairs, low));
  sums.high = _mm256_add_epi32(sums.high, _mm256_madd_epi16(pairs, high));
}

BEYOND_AVX2 inline __m256i join(const Sums& sums) {
  return _mm256_add_epi32(sums.low, _mm256_slli_epi32(sums.high, kSplitBits));
}

// One output pixel of two rows at once, so that each coefficient is loaded once for both.
BEYOND_AVX2 void horizontal_two(const uint8_t* a, const uint8_t* b, uint8_t* to_a, uint8_t* to_b, const Axis& axis,
                                int left) {
  const __m256i shuffle = pair_shuffle();
  const __m256i round = _mm256_set1_epi32(kRound);
  const int quads = axis.stride() / 4;
  const auto* coefficients = reinterpret_cast<const __m256i*>(axis.packed(0));
  for (int i = 0; i < axis.out_size(); i++, to_a += 3, to_b += 3) {
    const ptrdiff_t offset = static_cast<ptrdiff_t>(axis.first(i) - left) * 4;
    const __m256i* next = coefficients + static_cast<ptrdiff_t>(i) * quads * 2;
    const int used = (axis.count(i) + 3) / 4;
    Sums sums_a{_mm256_setzero_si256(), _mm256_setzero_si256()};
    Sums sums_b = sums_a;
    for (int q = 0; q < used; q++, next += 2) {
      const __m256i low = _mm256_loadu_si256(next), high = _mm256_loadu_si256(next + 1);
      accumulate(sums_a, a + offset + q * 16, low, high, shuffle);
      accumulate(sums_b, b + offset + q * 16, low, high, shuffle);
    }
    const __m256i all_a = join(sums_a), all_b = join(sums_b);
    __m256i both = _mm256_add_epi32(_mm256_permute2x128_si256(all_a, all_b, 0x20),
                                    _mm256_permute2x128_si256(all_a, all_b, 0x31));
    both = _mm256_srai_epi32(_mm256_add_epi32(both, round), kPrecisionBits);
    both = _mm256_packs_epi32(both, both);
    both = _mm256_packus_epi16(both, both);
    // Four bytes are stored, the fourth is overwritten by the next pixel.
    const int pixel_a = _mm_cvtsi128_si32(_mm256_castsi256_si128(both));
    const int pixel_b = _mm_cvtsi128_si32(_mm256_extracti128_si256(both, 1));
    std::memcpy(to_a, &pixel_a, 4);
    std::memcpy(to_b, &pixel_b, 4);
  }
}

void horizontal(const uint8_t* const* from, uint8_t* const* to, int rows, const Axis& axis, int left) {
  int r = 0;
  for (; r + 1 < rows; r += 2) horizontal_two(from[r], from[r + 1], to[r], to[r + 1], axis, left);
  if (r < rows) horizontal_two(from[r], from[r], to[r], to[r], axis, left);
}

struct Block {
  Sums part[4];  // 32 bytes, in the order the unpack instructions leave them
};

BEYOND_AVX2 inline void add_pair(Block& block, __m256i a, __m256i b, int tap_a, int tap_b) {
  const int low_mask = (1 << kSplitBits) - 1;
  const __m256i low = _mm256_set1_epi32((tap_a & low_mask) | (tap_b & low_mask) << 16);
  const __m256i high = _mm256_set1_epi32(((tap_a >> kSplitBits) & 0xffff) |
                                         static_cast<int>(static_cast<unsigned>(tap_b >> kSplitBits) << 16));
  const __m256i zero = _mm256_setzero_si256();
  const __m256i lower = _mm256_unpacklo_epi8(a, b), upper = _mm256_unpackhi_epi8(a, b);
  const __m256i pairs[4] = {_mm256_unpacklo_epi8(lower, zero), _mm256_unpackhi_epi8(lower, zero),
                            _mm256_unpacklo_epi8(upper, zero), _mm256_unpackhi_epi8(upper, zero)};
  for (int p = 0; p < 4; p++) {
    block.part[p].low = _mm256_add_epi32(block.part[p].low, _mm256_madd_epi16(pairs[p], low));
    block.part[p].high = _mm256_add_epi32(block.part[p].high, _mm256_madd_epi16(pairs[p], high));
  }
}

BEYOND_AVX2 inline __m256i finish(const Block& block) {
  __m256i sums[4];
  for (int p = 0; p < 4; p++) sums[p] = _mm256_srai_epi32(join(block.part[p]), kPrecisionBits);
  return _mm256_packus_epi16(_mm256_packs_epi32(sums[0], sums[1]), _mm256_packs_epi32(sums[2], sums[3]));
}

BEYOND_AVX2 inline __m256i load_row(const uint8_t* row) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
}

BEYOND_AVX2 __m256i vertical_block(const uint8_t* const* rows, const int* taps, int count, int base) {
  Block block;
  for (Sums& part : block.part) part = {_mm256_set1_epi32(kRound), _mm256_setzero_si256()};
  int t = 0;
  for (; t + 1 < count; t += 2) {
    add_pair(block, load_row(rows[t] + base), load_row(rows[t + 1] + base), taps[t], taps[t + 1]);
  }
  if (t < count) add_pair(block, load_row(rows[t] + base), _mm256_setzero_si256(), taps[t], 0);
  return finish(block);
}

BEYOND_AVX2 void vertical(const uint8_t* const* rows, const int* taps, int count, uint8_t* to, int bytes) {
  int base = 0;
  for (; base + 32 <= bytes; base += 32) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + base), vertical_block(rows, taps, count, base));
  }
  if (base < bytes) {
    alignas(32) uint8_t rest[32];
    _mm256_store_si256(reinterpret_cast<__m256i*>(rest), vertical_block(rows, taps, count, base));
    std::memcpy(to + base, rest, static_cast<size_t>(bytes - base));
  }
}

constexpr Passes kAvx2{"avx2", horizontal, vertical};

}  // namespace

const Passes* avx2_passes() { return __builtin_cpu_supports("avx2") ? &kAvx2 : nullptr; }

}  // namespace beyond

#else

namespace beyond {
const Passes* avx2_passes() { return nullptr; }
}  // namespace beyond

#endif
