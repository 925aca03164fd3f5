// A JPEG's rows, from libjpeg into the resize.
#pragma once

#include "libjpeg.h"
#include "params.h"
#include "scratch.h"

namespace beyond {

// Starts the decompressor, whose header has been read and whose options are set, and reads what the region
// needs. Returns why this image is left to others, or nullptr. libjpeg's errors leave by longjmp: no object
// with a destructor lives here.
// With `own_entropy` the entropy decoder is ours where it suits; what it gives up must be done again without.
const char* stream_rows(jpeg_decompress_struct& cinfo, const Params& params, uint8_t* out, Scratch& scratch,
                        Outcome& outcome, bool own_entropy);

}  // namespace beyond
