#include "entropy.h"

#include <algorithm>
#include <cstring>

namespace beyond {
namespace {

#define BEYOND_INLINE inline __attribute__((always_inline))

// Zigzag to natural order; the tail catches runs that lead out of the block until they are noticed.
constexpr uint8_t kOrder[64 + 16] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,
    6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31,
    39, 46, 53, 60, 61, 54, 47, 55, 62, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63};

void refill_by_bytes(BitStream& bits) {
  while (bits.count <= 56) {
    uint64_t byte = 0;
    const bool stuffed = bits.end - bits.next >= 2 && bits.next[0] == 0xFF && bits.next[1] == 0;
    if (stuffed) {
      byte = 0xFF;
      bits.next += 2;
    } else if (bits.next < bits.end && *bits.next != 0xFF) {
      byte = *bits.next++;
    } else {
      bits.padding += 8;
    }
    bits.buffer |= byte << (56 - bits.count);
    bits.count += 8;
  }
}

// At least 32 bits are valid after it: enough for the longest code with its extra bits.
BEYOND_INLINE void refill(BitStream& bits) {
  if (bits.count >= 32) return;
  if (bits.end - bits.next >= 4) {
    uint32_t word;
    std::memcpy(&word, bits.next, 4);
    word = __builtin_bswap32(word);
    // No byte is 0xFF, so none is stuffing or a marker.
    const uint32_t inverted = ~word;
    if (((inverted - 0x01010101u) & ~inverted & 0x80808080u) == 0) {
      bits.buffer |= static_cast<uint64_t>(word) << (32 - bits.count);
      bits.count += 32;
      bits.next += 4;
      return;
    }
  }
  refill_by_bytes(bits);
}

BEYOND_INLINE uint32_t peek(const BitStream& bits, int n) { return static_cast<uint32_t>(bits.buffer >> (64 - n)); }

BEYOND_INLINE void consume(BitStream& bits, int n) {
  bits.buffer <<= n;
  bits.count -= n;
}

// `size` is 1 to 15.
BEYOND_INLINE int take_extended(BitStream& bits, int size) {
  const int value = static_cast<int>(peek(bits, size));
  consume(bits, size);
  return value < (1 << (size - 1)) ? value - (1 << size) + 1 : value;
}

// Symbol of a code longer than `shorter` bits, which is consumed; -1 if there is none.
int take_long(BitStream& bits, const LongCodes& codes, const HuffmanCode& code, int shorter) {
  for (int length = shorter + 1; length <= 16; length++) {
    const int prefix = static_cast<int>(peek(bits, length));
    if (prefix <= codes.largest[length]) {
      consume(bits, length);
      return code.symbols[static_cast<size_t>(codes.offset[length] + prefix)];
    }
  }
  return -1;
}

// All functions below return false at what good data does not have.

BEYOND_INLINE bool take_dc(BitStream& bits, const DcTable& table, int& dc) {
  refill(bits);
  const int entry = table.direct[peek(bits, kDcBits)];
  int size = entry >> 8;
  if (entry == 0) {
    size = take_long(bits, table.longer, table.code, kDcBits);
    if (size < 0) return false;
  } else {
    consume(bits, entry & 31);
  }
  if (size) dc += take_extended(bits, size);
  return dc >= -32768 && dc <= 32767;
}

// One coefficient that is not inline in the table: sets run and value, or `end`.
BEYOND_INLINE bool take_symbol(BitStream& bits, const AcTable& table, uint32_t entry, int& run, int& value,
                               bool& end) {
  int symbol = static_cast<int>(entry >> 8) & 255;
  if (entry == 0) {
    symbol = take_long(bits, table.longer, table.code, kDirectBits);
    if (symbol < 0) return false;
  } else {
    consume(bits, static_cast<int>(entry & AcTable::kLength));
  }
  const int size = symbol & 15;
  run = symbol >> 4;
  end = (entry & AcTable::kEnd) || (size == 0 && run != 15);
  value = size ? take_extended(bits, size) : 0;
  return true;
}

BEYOND_INLINE bool take_ac(BitStream& bits, const AcTable& table, JCOEF* block) {
  int k = 1;
  while (k < DCTSIZE2) {
    refill(bits);
    const uint32_t entry = table.direct[peek(bits, kDirectBits)];
    if (entry & AcTable::kInline) {
      consume(bits, static_cast<int>(entry & AcTable::kLength));
      k += static_cast<int>(entry >> 8) & 15;
      block[kOrder[k++]] = static_cast<JCOEF>(entry >> 16);
      continue;
    }
    int run, value;
    bool end;
    if (!take_symbol(bits, table, entry, run, value, end)) return false;
    if (end) return true;
    k += run;
    block[kOrder[k++]] = static_cast<JCOEF>(value);
  }
  return k == DCTSIZE2;
}

BEYOND_INLINE bool skip_ac(BitStream& bits, const AcTable& table) {
  const uint16_t* const skip = table.skip();
  int k = 1;
  while (k < DCTSIZE2) {
    refill(bits);
    const uint32_t several = skip[peek(bits, kSkipBits)];
    const int after = k + static_cast<int>(several >> 8);
    const bool ends = several & AcTable::kSkipEnd;
    if (several != 0 && after + ends <= DCTSIZE2) {
      consume(bits, static_cast<int>(several & AcTable::kSkipLength));
      if (ends) return true;
      k = after;
      continue;
    }
    const uint32_t entry = table.direct[peek(bits, kDirectBits)];
    if (entry & AcTable::kInline) {
      consume(bits, static_cast<int>(entry & AcTable::kLength));
      k += (static_cast<int>(entry >> 8) & 15) + 1;
      continue;
    }
    int run, value;
    bool end;
    if (!take_symbol(bits, table, entry, run, value, end)) return false;
    if (end) return true;
    k += run + 1;
  }
  return k == DCTSIZE2;
}

bool restart(EntropyDecoder& decoder, const jpeg_decompress_struct& cinfo) {
  BitStream& bits = decoder.bits;
  // Whole bytes left over are data that nobody asked for.
  if (bits.count - bits.padding >= 8) return false;
  const bool marked = bits.end - bits.next >= 2 && bits.next[0] == 0xFF && bits.next[1] == 0xD0 + decoder.next_restart;
  if (!marked) return false;
  bits.next += 2;
  bits.buffer = 0;
  bits.count = bits.padding = 0;
  std::fill(std::begin(decoder.last_dc), std::end(decoder.last_dc), 0);
  decoder.next_restart = (decoder.next_restart + 1) & 7;
  decoder.restarts_left = cinfo.restart_interval;
  return true;
}

BEYOND_INLINE bool take_mcu(EntropyDecoder& decoder, const jpeg_decompress_struct& cinfo, JBLOCKROW* blocks,
                            bool wanted) {
  if (cinfo.restart_interval) {
    if (decoder.restarts_left == 0 && !restart(decoder, cinfo)) return false;
    decoder.restarts_left--;
  }
  BitStream bits = decoder.bits;  // a copy lives in registers
  for (int b = 0; b < cinfo.blocks_in_MCU; b++) {
    const EntropyDecoder::Block& block = decoder.blocks[b];
    int& dc = decoder.last_dc[block.component];
    if (!take_dc(bits, *block.dc, dc)) return false;
    if (wanted) (*blocks[b])[0] = static_cast<JCOEF>(dc);
    const bool whole = wanted && !block.dc_only;
    if (!(whole ? take_ac(bits, *block.ac, *blocks[b]) : skip_ac(bits, *block.ac))) return false;
  }
  decoder.bits = bits;
  return bits.count >= bits.padding && bits.next <= bits.safe;
}

BEYOND_INLINE boolean decode_mcu(j_decompress_ptr cinfo, JBLOCKROW* blocks) {
  auto& decoder = *reinterpret_cast<EntropyDecoder*>(cinfo->entropy);
  const JDIMENSION column = decoder.column;
  decoder.column = column + 1 == cinfo->MCUs_per_row ? 0 : column + 1;
  const bool wanted =
      blocks && column >= cinfo->master->first_iMCU_col && column <= cinfo->master->last_iMCU_col;
  if (!take_mcu(decoder, *cinfo, blocks, wanted)) {
    cinfo->err->msg_code = kEntropyGaveUp;
    (*cinfo->err->error_exit)(reinterpret_cast<j_common_ptr>(cinfo));
  }
  return TRUE;
}

boolean decode_mcu_generic(j_decompress_ptr cinfo, JBLOCKROW* blocks) { return decode_mcu(cinfo, blocks); }

#if defined(__x86_64__)
// Shifts by a variable take one instruction with BMI2, and they are what this loop does.
__attribute__((target("bmi2"))) boolean decode_mcu_bmi2(j_decompress_ptr cinfo, JBLOCKROW* blocks) {
  return decode_mcu(cinfo, blocks);
}
#endif

template <typename Table>
bool adopt(Table& table, const JHUFF_TBL* from) {
  if (!from) return false;
  HuffmanCode code;
  std::copy(std::begin(from->bits) + 1, std::end(from->bits), code.lengths.begin() + 1);
  int symbols = 0;
  for (const uint8_t count : code.lengths) symbols += count;
  if (symbols < 1 || symbols > 256) return false;
  std::copy(from->huffval, from->huffval + symbols, code.symbols.begin());
  if (!(code == table.code)) table.build(code);
  return true;
}

bool suitable(const jpeg_decompress_struct& cinfo) {
  return !cinfo.progressive_mode && !cinfo.arith_code && !cinfo.inputctl->has_multiple_scans &&
         cinfo.unread_marker == 0 && cinfo.entropy->decode_mcu != nullptr;
}

// libjpeg warns when its reading ahead meets the file's end, even where all that it needs is there. It stops at
// a marker: up to the last marker near the end all is well, and what comes after it is left to libjpeg.
const uint8_t* safe_end(const uint8_t* from, const uint8_t* end) {
  constexpr ptrdiff_t kReadAhead = 2 * sizeof(uint64_t);
  if (end - from <= kReadAhead) return nullptr;
  for (const uint8_t* at = end - 2; at >= end - kReadAhead; at--) {
    if (at[0] == 0xFF && at[1] != 0 && at[1] != 0xFF) return at;
  }
  return end - kReadAhead;
}

}  // namespace

bool EntropyDecoder::engage(jpeg_decompress_struct& cinfo) {
  if (!suitable(cinfo)) return false;
  for (int b = 0; b < cinfo.blocks_in_MCU; b++) {
    const int component = cinfo.MCU_membership[b];
    const jpeg_component_info& info = *cinfo.cur_comp_info[component];
    DcTable& dc = dc_tables[info.dc_tbl_no];
    AcTable& ac = ac_tables[info.ac_tbl_no];
    if (!adopt(dc, cinfo.dc_huff_tbl_ptrs[info.dc_tbl_no])) return false;
    if (!adopt(ac, cinfo.ac_huff_tbl_ptrs[info.ac_tbl_no])) return false;
    blocks[b] = {&dc, &ac, component, !info.component_needed || info.DCT_scaled_size == 1};
  }
  bits = BitStream{};
  bits.next = cinfo.src->next_input_byte;
  bits.end = bits.next + cinfo.src->bytes_in_buffer;
  bits.safe = safe_end(bits.next, bits.end);
  if (!bits.safe) return false;
  std::fill(std::begin(last_dc), std::end(last_dc), 0);
  restarts_left = cinfo.restart_interval;
  next_restart = 0;
  column = 0;
  face = *cinfo.entropy;
  face.decode_mcu = decode_mcu_generic;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("bmi2")) face.decode_mcu = decode_mcu_bmi2;
#endif
  cinfo.entropy = &face;
  return true;
}

}  // namespace beyond
