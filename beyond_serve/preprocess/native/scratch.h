// What one worker keeps between images.
#pragma once

#include <cstdint>
#include <vector>

#include "arena.h"
#include "coefficients.h"
#include "entropy.h"

namespace beyond {

// Every decoded row may be read this many bytes past its last pixel.
constexpr int kDecodedSlack = 64;
constexpr int kBatchRows = 8;  // rows decoded between two looks at the clock; they stay in the L2 cache

struct Limits {
  int max_scans = 100;  // encoders write 10 or so; each costs a pass over all coefficients
  size_t max_memory = size_t{512} << 20;
  int64_t max_pixels = int64_t{1} << 28;
};

struct Scratch {
  explicit Scratch(const Limits& given) : limits(given), arena(given.max_memory) {}

  Limits limits;
  Arena arena;
  EntropyDecoder entropy;
  Axis horizontal, vertical;
  std::vector<uint8_t> decoded;         // kBatchRows RGBX rows
  std::vector<uint8_t> ring;            // resized rows that some output row still needs
  std::vector<uint8_t> line;            // one output row before its orientation is applied
  std::vector<const uint8_t*> columns;  // ring rows under the taps of one output row
};

}  // namespace beyond
