#include "webp.h"

#include <new>

#include "libwebp.h"
#include "webp_memory.h"

namespace beyond {
namespace {

bool admissible(const uint8_t* data, size_t size, RowFeed& feed, WebpHead& head) {
  if (const char* wrong = read_webp_head(data, size, head)) {
    feed.outcome().fail(Status::kCorrupt, wrong);
    return false;
  }
  if (head.animated) {
    feed.outcome().fail(Status::kUnsupported, "an animated WebP is not decoded natively");
    return false;
  }
  return feed.choose_region(head.width, head.height);
}

void run(const uint8_t* data, size_t size, const WebpHead& head, const RowWriter& writer, RowFeed& feed) {
  const WebpMemory memory(feed.scratch().arena);
  const WebpStop stop = head.lossless ? feed_lossless(head, writer, feed) : feed_lossy(head, writer, feed);
  if (stop.status == Status::kOk) return;
  const size_t at = stop.status == Status::kTruncated ? size : static_cast<size_t>(head.frame - data) + stop.position;
  feed.damaged(stop.status, stop.text, static_cast<int64_t>(at));
}

}  // namespace

WebpStop webp_stop(int vp8_status, const WebpHead& head, size_t position, const char* text) {
  switch (vp8_status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return {Status::kLimit, "decoding needs more memory than is allowed", position};
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return {Status::kUnsupported, "this kind of WebP is not decoded natively", position};
    default:
      if (head.cut && position >= head.frame_size) {
        return {Status::kTruncated, "it ends before its pixels are complete", position};
      }
      return {Status::kCorrupt, text, position};
  }
}

void decode_webp(const uint8_t* data, size_t size, const Params& params, uint8_t* out, Scratch& scratch,
                 Outcome& outcome, Interlude* interlude) noexcept {
  RowFeed feed;
  feed.open(params, scratch, outcome, interlude);
  try {
    WebpHead head;
    const RowWriter writer(params, out);
    if (admissible(data, size, feed, head)) run(data, size, head, writer, feed);
  } catch (const std::bad_alloc&) {
    outcome.fail(Status::kLimit, "out of memory");
  }
  feed.close();
}

}  // namespace beyond
