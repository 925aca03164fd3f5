// libwebp's decoder below its public face: rows as they come, of a frame without its container. Internal to
// libwebp, so bound to the version in third_party/.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
#include "src/dec/vp8_dec.h"
#include "src/dec/vp8i_dec.h"
#include "src/dec/vp8li_dec.h"
#include "src/dec/webpi_dec.h"
#include "src/dsp/dsp.h"
#include "src/webp/decode.h"
}
