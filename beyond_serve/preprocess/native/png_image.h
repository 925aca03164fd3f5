// One PNG: rows as they are inflated go into the resize, and nothing below the region is read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "interlude.h"
#include "params.h"
#include "scratch.h"

namespace beyond {

// As decode_jpeg. Alpha and transparency are dropped, 16 bits keep their high byte; interlaced and animated files
// are left to others.
void decode_png(const uint8_t* data, size_t size, const Params& params, uint8_t* out, Scratch& scratch,
                Outcome& outcome, Interlude* interlude) noexcept;

}  // namespace beyond
