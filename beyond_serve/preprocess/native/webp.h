// One WebP, lossy or lossless: rows as they are decoded go into the resize, and nothing below the region is
// decoded.
#pragma once

#include <cstddef>
#include <cstdint>

#include "interlude.h"
#include "params.h"
#include "row_feed.h"
#include "scratch.h"
#include "webp_head.h"

namespace beyond {

// As decode_jpeg. Alpha is dropped without being decoded where it is coded apart; animated files are left to
// others.
void decode_webp(const uint8_t* data, size_t size, const Params& params, uint8_t* out, Scratch& scratch,
                 Outcome& outcome, Interlude* interlude) noexcept;

// Where and why a frame's decoder stopped; Status::kOk when it did not.
struct WebpStop {
  Status status = Status::kOk;
  const char* text = "";
  size_t position = 0;  // in the frame
};

// Feeds the region's rows of the frame; `feed` has its region. Called by decode_webp.
WebpStop feed_lossy(const WebpHead& head, const RowWriter& writer, RowFeed& feed);
WebpStop feed_lossless(const WebpHead& head, const RowWriter& writer, RowFeed& feed);

// What a decoder's status means for this file.
WebpStop webp_stop(int vp8_status, const WebpHead& head, size_t position, const char* text);

}  // namespace beyond
