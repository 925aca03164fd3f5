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

BEYOND_AVX2 inline __m256i join(const Sums& sums) {
  return _mm256_add_epi32(sums.low, _mm256_slli_epi32(sums.high, kSplitBits));
}

// Four pixels RGBX of two rows, one row in each lane.
BEYOND_AVX2 inline __m256i load_two(const uint8_t* a, const uint8_t* b) {
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)),
                                 1);
}

struct Coefficients {
  __m256i low_01, low_23, high_01, high_23;
};

BEYOND_AVX2 inline void accumulate(Sums& sums, __m256i pixels, const Coefficients& c) {
  // Per lane: channel by channel, taps 0 and 1 (then 2 and 3) side by side as 16-bit numbers.
  const __m256i first = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1));
  const __m256i second = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1));
  const __m256i taps_01 = _mm256_shuffle_epi8(pixels, first), taps_23 = _mm256_shuffle_epi8(pixels, second);
  sums.low = _mm256_add_epi32(sums.low, _mm256_add_epi32(_mm256_madd_epi16(taps_01, c.low_01),
                                                         _mm256_madd_epi16(taps_23, c.low_23)));
  sums.high = _mm256_add_epi32(sums.high, _mm256_add_epi32(_mm256_madd_epi16(taps_01, c.high_01),
                                                           _mm256_madd_epi16(taps_23, c.high_23)));
}

// Four bytes are stored, the fourth is overwritten by the next pixel.
BEYOND_AVX2 inline void store_pixel(uint8_t* to, int pixel) { std::memcpy(to, &pixel, 4); }

// Two rows, or with kFour four, at once: each coefficient is loaded once for all.
template <bool kFour>
BEYOND_AVX2 void horizontal_rows(const uint8_t* const* from, uint8_t* const* to, const Axis& axis, int left) {
  constexpr int c = kFour ? 2 : 0, d = kFour ? 3 : 1;
  const __m256i round = _mm256_set1_epi32(kRound), zero = _mm256_setzero_si256();
  const uint8_t* const in[4] = {from[0], from[1], from[c], from[d]};
  uint8_t* const out[4] = {to[0], to[1], to[c], to[d]};
  for (int i = 0; i < axis.out_size(); i++) {
    ptrdiff_t offset = static_cast<ptrdiff_t>(axis.first(i) - left) * 4;
    const int* packed = axis.packed(i);
    Sums ab{round, zero}, cd{round, zero};
    for (int taps = axis.count(i); taps > 0; taps -= 4, packed += 4, offset += 16) {
      const Coefficients k{_mm256_set1_epi32(packed[0]), _mm256_set1_epi32(packed[1]), _mm256_set1_epi32(packed[2]),
                           _mm256_set1_epi32(packed[3])};
      accumulate(ab, load_two(in[0] + offset, in[1] + offset), k);
      if (kFour) accumulate(cd, load_two(in[2] + offset, in[3] + offset), k);
    }
    const __m256i words = _mm256_packs_epi32(_mm256_srai_epi32(join(ab), kPrecisionBits),
                                             _mm256_srai_epi32(join(cd), kPrecisionBits));
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const __m128i ac = _mm256_castsi256_si128(bytes), bd = _mm256_extracti128_si256(bytes, 1);
    const ptrdiff_t place = static_cast<ptrdiff_t>(i) * 3;
    store_pixel(out[0] + place, _mm_cvtsi128_si32(ac));
    store_pixel(out[1] + place, _mm_cvtsi128_si32(bd));
    if (kFour) {
      store_pixel(out[2] + place, _mm_extract_epi32(ac, 1));
      store_pixel(out[3] + place, _mm_extract_epi32(bd, 1));
    }
  }
}

void horizontal(const uint8_t* const* from, uint8_t* const* to, int rows, const Axis& axis, int left) {
  int r = 0;
  for (; r + 4 <= rows; r += 4) horizontal_rows<true>(from + r, to + r, axis, left);
  for (; r < rows; r += 2) {
    // A last row without a partner is done twice, to the same bytes.
    const int partner = r + 1 < rows ? r + 1 : r;
    const uint8_t* const in[2] = {from[r], from[partner]};
    uint8_t* const out[2] = {to[r], to[partner]};
    horizontal_rows<false>(in, out, axis, left);
  }
}

struct Block {
  Sums part[4];  // 32 bytes, in the order the unpack instructions leave them
};

// `low` and `high`: both taps' coefficients as Axis packs them.
BEYOND_AVX2 inline void add_pair(Block& block, __m256i a, __m256i b, int low_halves, int high_halves) {
  const __m256i low = _mm256_set1_epi32(low_halves), high = _mm256_set1_epi32(high_halves);
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

BEYOND_AVX2 inline __m256i vertical_block(const uint8_t* const* rows, const int* packed, int count, int base) {
  Block block;
  for (Sums& part : block.part) part = {_mm256_set1_epi32(kRound), _mm256_setzero_si256()};
  int t = 0;
  for (; t + 1 < count; t += 2) {
    const int* pair = packed + t / 4 * 4 + t % 4 / 2;
    add_pair(block, load_row(rows[t] + base), load_row(rows[t + 1] + base), pair[0], pair[2]);
  }
  if (t < count) {
    const int* pair = packed + t / 4 * 4 + t % 4 / 2;
    add_pair(block, load_row(rows[t] + base), _mm256_setzero_si256(), pair[0], pair[2]);
  }
  return finish(block);
}

BEYOND_AVX2 void vertical(const uint8_t* const* rows, const Axis& axis, int y, uint8_t* to, int bytes) {
  const int* packed = axis.packed(y);
  const int count = axis.count(y);
  int base = 0;
  for (; base + 32 <= bytes; base += 32) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + base), vertical_block(rows, packed, count, base));
  }
  if (base < bytes) {
    alignas(32) uint8_t rest[32];
    _mm256_store_si256(reinterpret_cast<__m256i*>(rest), vertical_block(rows, packed, count, base));
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
