// Lossy WebP. Rows come in luma and chroma as soon as their macroblocks are filtered; the colours are made here, a
// pair of rows between two of chroma, as libwebp's io_dec.c makes them.
#include <algorithm>
#include <cstring>

#include "libwebp.h"
#include "webp.h"

namespace beyond {
namespace {

struct Decoder {
  VP8Decoder* dec = VP8New();
  ~Decoder() { VP8Delete(dec); }
};

struct Planes {
  const uint8_t *u, *v;
};

// The part of the picture asked of libwebp: the region, and the rows and columns of chroma that its edges are
// interpolated with. Left and top are even, as chroma is.
Region with_chroma(const Region& region, const WebpHead& head) {
  return {std::max((region.left - 1) & ~1, 0), std::min(region.right | 1, head.width),
          std::max((region.top - 1) & ~1, 0), std::min(region.bottom | 1, head.height)};
}

struct Rows {
  RowFeed* feed;
  Region crop;
  int pending = 0;           // rows in their places and not yet resized
  uint8_t* spare[2];         // for rows outside the region
  uint8_t *luma, *u, *v;     // the last row of a call, whose lower chroma comes with the next

  uint8_t* target(int y, int place) const {
    const Region& region = feed->region();
    return y >= region.top && y < region.bottom ? feed->place(y) : spare[place];
  }

  void flush() {
    if (pending > 0) feed->resize(pending);
    pending = 0;
  }

  // Rows y and, unless `below` is null, y + 1 of the picture, between two rows of chroma.
  void pair(int y, const uint8_t* above, const uint8_t* below, Planes upper, Planes lower) {
    if (pending + 2 > kBatchRows) flush();
    WebPUpsamplers[MODE_RGBA](above, below, upper.u, upper.v, lower.u, lower.v, target(y, 0),
                              below ? target(y + 1, 1) : nullptr, crop.right - crop.left);
    const Region& region = feed->region();
    for (int row = y; row < y + (below ? 2 : 1); row++) pending += row >= region.top && row < region.bottom;
  }
};

int on_setup(VP8Io* io) {
  const Region& crop = static_cast<Rows*>(io->opaque)->crop;
  io->use_cropping = 1;
  io->crop_left = crop.left;
  io->crop_right = crop.right;
  io->crop_top = crop.top;
  io->crop_bottom = crop.bottom;
  io->mb_w = crop.right - crop.left;
  io->mb_h = crop.bottom - crop.top;
  io->use_scaling = 0;
  io->bypass_filtering = 0;
  io->fancy_upsampling = 1;
  WebPInitUpsamplers();
  return 1;
}

// Follows EmitFancyRGB of io_dec.c.
int on_rows(const VP8Io* io) {
  Rows& rows = *static_cast<Rows*>(io->opaque);
  if (io->mb_w <= 0 || io->mb_h <= 0) return 0;
  const auto chroma_columns = static_cast<size_t>((io->mb_w + 1) / 2);
  const int first = rows.crop.top + io->mb_y, end = first + io->mb_h;
  const uint8_t* luma = io->y;
  Planes now{io->u, io->v};
  if (io->mb_y == 0) {
    rows.pair(first, luma, nullptr, now, now);
  } else {
    rows.pair(first - 1, rows.luma, luma, {rows.u, rows.v}, now);
  }
  for (int y = first; y + 2 < end; y += 2) {
    const Planes before = now;
    now = {now.u + io->uv_stride, now.v + io->uv_stride};
    luma += 2 * io->y_stride;
    rows.pair(y + 1, luma - io->y_stride, luma, before, now);
  }
  luma += io->y_stride;
  if (end < rows.crop.bottom) {
    std::memcpy(rows.luma, luma, static_cast<size_t>(io->mb_w));
    std::memcpy(rows.u, now.u, chroma_columns);
    std::memcpy(rows.v, now.v, chroma_columns);
  } else if (!(io->mb_h & 1)) {
    rows.pair(end - 1, luma, nullptr, now, now);
  }
  return 1;
}

// Rows' own memory: two spare ones, and one in luma and chroma. False without memory.
bool set_memory(Rows& rows, Arena& arena) {
  const auto columns = static_cast<size_t>(rows.crop.right - rows.crop.left);
  auto* place = static_cast<uint8_t*>(arena.allocate(columns * 8 + columns + (columns + 1) / 2 * 2));
  if (!place) return false;
  rows.spare[0] = place;
  rows.spare[1] = place + columns * 4;
  rows.luma = place + columns * 8;
  rows.u = rows.luma + columns;
  rows.v = rows.u + (columns + 1) / 2;
  return true;
}

WebpStop stop_of(const VP8Decoder& dec, const WebpHead& head) {
  const uint8_t* at = dec.parts[dec.mb_y & static_cast<int>(dec.num_parts_minus_one)].buf;
  const bool inside = at >= head.frame && at <= head.frame + head.frame_size;
  const bool ended = dec.status == VP8_STATUS_NOT_ENOUGH_DATA || dec.status == VP8_STATUS_SUSPENDED;
  const size_t position = ended ? head.frame_size : inside ? static_cast<size_t>(at - head.frame) : 0;
  return webp_stop(dec.status, head, position, dec.error_msg);
}

}  // namespace

WebpStop feed_lossy(const WebpHead& head, const RowWriter& writer, RowFeed& feed) {
  Rows rows;
  rows.feed = &feed;
  rows.crop = with_chroma(feed.region(), head);
  if (!feed.begin(writer, rows.crop.right - rows.crop.left, rows.crop.left)) return {};
  Decoder decoder;
  if (!decoder.dec || !set_memory(rows, feed.scratch().arena)) {
    return webp_stop(VP8_STATUS_OUT_OF_MEMORY, head, 0, "");
  }
  VP8Io io;
  if (!VP8InitIo(&io)) return {Status::kUnsupported, "another libwebp", 0};
  io.data = head.frame;
  io.data_size = head.frame_size;
  io.opaque = &rows;
  io.setup = on_setup;
  io.put = on_rows;
  io.teardown = nullptr;
  const bool decoded = VP8GetHeaders(decoder.dec, &io) && VP8Decode(decoder.dec, &io);
  rows.flush();
  return decoded || feed.done() ? WebpStop{} : stop_of(*decoder.dec, head);
}

}  // namespace beyond
