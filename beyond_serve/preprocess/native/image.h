// One encoded image of any format that this core knows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "interlude.h"
#include "params.h"
#include "scratch.h"

namespace beyond {

enum class Format { kJpeg, kPng, kWebp };

// By its first bytes; what is nothing known is judged as a JPEG.
Format format_of(const uint8_t* data, size_t size);
const char* name_of(Format format);

// `out` has params.output_bytes() bytes and is written only within them; on failure its content is undefined.
// Never throws; needs no Python. `scratch` is used by one thread at a time. `interlude` may be null.
void decode_image(const uint8_t* data, size_t size, const Params& params, uint8_t* out, Scratch& scratch,
                  Outcome& outcome, Interlude* interlude) noexcept;

}  // namespace beyond
