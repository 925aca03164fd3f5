// Decoding tables of JPEG's Huffman codes, wider than libjpeg's: most coefficients take one look-up, value and
// all, and what is not needed is skipped several coefficients at a time.
#pragma once

#include <array>
#include <cstdint>

namespace beyond {

constexpr int kDcBits = 9;
constexpr int kDirectBits = 11;
constexpr int kSkipBits = 13;

// A table as the file gives it: `lengths[l]` codes of l bits, their symbols in order.
struct HuffmanCode {
  std::array<uint8_t, 17> lengths{};
  std::array<uint8_t, 256> symbols{};
  bool operator==(const HuffmanCode& other) const {
    return lengths == other.lengths && symbols == other.symbols;
  }
};

// For codes longer than a look-up.
struct LongCodes {
  int largest[17];  // largest code of each length, -1 where there is none
  int offset[17];   // index of a symbol, minus its code

  void build(const HuffmanCode& code);
};

// An entry is the code's length with the symbol above it (symbol << 8), or 0 for a longer code.
struct DcTable {
  HuffmanCode code;
  LongCodes longer;
  uint16_t direct[1 << kDcBits];

  void build(const HuffmanCode& from);  // `from` is a legal prefix code, as libjpeg has checked
};

struct AcTable {
  static constexpr uint32_t kLength = 31, kInline = 32, kEnd = 64;
  static constexpr uint16_t kSkipLength = 31, kSkipEnd = 128;

  HuffmanCode code;
  LongCodes longer;
  // Low byte: bits to consume, and kInline: the run of zeros is in the next byte, the value in the upper half;
  // or kEnd: end of block; or neither: only the code has been looked up, its symbol is in the next byte.
  // 0 for a longer code.
  uint32_t direct[1 << kDirectBits];
  // For the next kSkipBits bits: how many of them whole coefficients take, kSkipEnd if the last is an end of
  // block, and above it how many places the coefficients advance. 0 if not even one is whole.
  // Table m of 2^m entries, for m bits, begins at 2^m; only the last is for decoding.
  uint16_t skip_levels[2 << kSkipBits];

  void build(const HuffmanCode& from);
  const uint16_t* skip() const { return skip_levels + (1 << kSkipBits); }

 private:
  void build_direct();
  void build_skip_level(int bits);
};

}  // namespace beyond
