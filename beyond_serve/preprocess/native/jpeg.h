// One JPEG: header, region, scaled decode of that region, resize, into the caller's memory. One pass over
// rows; no intermediate image.
#pragma once

#include <cstddef>
#include <cstdint>

#include "interlude.h"
#include "params.h"
#include "scratch.h"

namespace beyond {

// `out` has params.output_bytes() bytes and is written only within them; on failure its content is undefined.
// Never throws; needs no Python. `scratch` is used by one thread at a time.
// `interlude` may be null.
void decode_jpeg(const uint8_t* data, size_t size, const Params& params, uint8_t* out, Scratch& scratch,
                 Outcome& outcome, Interlude* interlude) noexcept;

}  // namespace beyond
