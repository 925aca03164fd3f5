#include "huffman.h"

#include <algorithm>

namespace beyond {
namespace {

// Calls visit(code, length, symbol) for every code of up to `longest` bits, in the order of their codes.
template <typename Visit>
void for_each_code(const HuffmanCode& from, int longest, Visit visit) {
  uint32_t code = 0;
  size_t index = 0;
  for (int length = 1; length <= longest; length++, code <<= 1) {
    for (int n = 0; n < from.lengths[static_cast<size_t>(length)]; n++) visit(code++, length, from.symbols[index++]);
  }
}

// The value that `size` extra bits stand for (T.81, F.2.2.1).
int extended(int bits, int size) { return bits < (1 << (size - 1)) ? bits - (1 << size) + 1 : bits; }

}  // namespace

void LongCodes::build(const HuffmanCode& from) {
  int code = 0, index = 0;
  largest[0] = -1;
  offset[0] = 0;
  for (int length = 1; length <= 16; length++, code <<= 1) {
    const int count = from.lengths[static_cast<size_t>(length)];
    offset[length] = index - code;
    code += count;
    index += count;
    largest[length] = count ? code - 1 : -1;
  }
}

void DcTable::build(const HuffmanCode& from) {
  code = from;
  longer.build(from);
  std::fill(std::begin(direct), std::end(direct), uint16_t{0});
  for_each_code(from, kDcBits, [&](uint32_t bits, int length, int symbol) {
    const int free = kDcBits - length;
    std::fill_n(direct + (bits << free), 1 << free, static_cast<uint16_t>(length | symbol << 8));
  });
}

void AcTable::build(const HuffmanCode& from) {
  code = from;
  longer.build(from);
  build_direct();
  std::fill(std::begin(skip_levels), std::end(skip_levels), uint16_t{0});
  for (int bits = 1; bits <= kSkipBits; bits++) build_skip_level(bits);
}

void AcTable::build_direct() {
  std::fill(std::begin(direct), std::end(direct), uint32_t{0});
  for_each_code(code, kDirectBits, [&](uint32_t bits, int length, int symbol) {
    const int free = kDirectBits - length;
    const int run = symbol >> 4, size = symbol & 15;
    uint32_t* to = direct + (bits << free);
    if (size == 0) {
      // A run of 16 zeros is a zero after 15.
      const uint32_t entry = run == 15 ? kInline | 15u << 8 : kEnd;
      std::fill_n(to, 1 << free, static_cast<uint32_t>(length) | entry);
    } else if (size > free) {
      std::fill_n(to, 1 << free, static_cast<uint32_t>(length) | static_cast<uint32_t>(symbol) << 8);
    } else {
      for (int extra = 0; extra < 1 << size; extra++, to += 1 << (free - size)) {
        const uint32_t value = static_cast<uint32_t>(extended(extra, size)) << 16;
        const uint32_t entry = static_cast<uint32_t>(length + size) | kInline | static_cast<uint32_t>(run) << 8;
        std::fill_n(to, 1 << (free - size), value | entry);
      }
    }
  });
}

// A coefficient of n bits followed by any m - n bits: table m's entry is table (m - n)'s for the rest, plus the
// coefficient's own length and advance.
void AcTable::build_skip_level(int bits) {
  uint16_t* const level = skip_levels + (1 << bits);
  for_each_code(code, bits, [&](uint32_t prefix, int length, int symbol) {
    const int run = symbol >> 4, size = symbol & 15;
    const int rest = bits - length - size;
    if (rest < 0) return;
    uint16_t* to = level + (prefix << (bits - length));
    if (size == 0 && run != 15) {
      std::fill_n(to, 1 << rest, static_cast<uint16_t>(length | kSkipEnd));
      return;
    }
    const auto own = static_cast<uint16_t>((length + size) | (run + 1) << 8);
    const uint16_t* after = skip_levels + (1 << rest);
    for (int extra = 0; extra < 1 << size; extra++) {
      for (int i = 0; i < 1 << rest; i++) *to++ = static_cast<uint16_t>(after[i] + own);
    }
  });
}

}  // namespace beyond
