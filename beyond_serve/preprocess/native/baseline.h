// What the decoder costs without us: the yardsticks of `beyond-bench decoders`.
#pragma once

#include <cstddef>
#include <cstdint>

#include "params.h"
#include "scratch.h"

namespace beyond {

// Entropy decoding of the whole image alone (jpeg_read_coefficients). Nanoseconds, or -1 on any error.
int64_t time_entropy_decoding(const uint8_t* data, size_t size, Scratch& scratch) noexcept;

// libjpeg-turbo's decode of the region at the scale that decode_jpeg would use, into one row that is thrown
// away. Nanoseconds, or -1 on any error.
int64_t time_region_decoding(const uint8_t* data, size_t size, const Params& params, Scratch& scratch) noexcept;

}  // namespace beyond
