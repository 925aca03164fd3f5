#include "png_image.h"

#include <png.h>

#include <csetjmp>
#include <cstring>
#include <new>

#include "png_head.h"
#include "png_pixels.h"
#include "row_feed.h"

namespace beyond {
namespace {

// libpng leaves a failed decode by longjmp, as libjpeg does: the same rules as in jpeg.cpp. It is never destroyed:
// all it allocates, zlib's state included, is the arena's.
struct Session {
  png_structp png;
  png_infop info;
  std::jmp_buf escape;
  const uint8_t* data;
  size_t size, at;
  RowFeed feed;
  PngPixels pixels;
  bool no_memory, no_data;
};

constexpr size_t kRowSlack = 4;  // see to_rgbx

Session* session_of(png_structp png) { return static_cast<Session*>(png_get_error_ptr(png)); }

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  Session* session = session_of(png);
  const auto at = static_cast<int64_t>(session->at);
  if (session->no_memory) {
    session->feed.damaged(Status::kLimit, "decoding needs more memory than is allowed", at);
  } else if (session->no_data) {
    session->feed.damaged(Status::kTruncated, "it ends before its pixels are complete",
                          static_cast<int64_t>(session->size));
  } else {
    session->feed.damaged(Status::kCorrupt, text, at);
  }
  std::longjmp(session->escape, 1);
}

// libpng warns of much that leaves the picture whole. A wrong checksum is an error unless damage is tolerated.
void on_warning(png_structp png, png_const_charp text) {
  if (std::strstr(text, "CRC")) session_of(png)->feed.outcome().warnings++;
}

void on_read(png_structp png, png_bytep to, size_t count) {
  Session* session = session_of(png);
  if (count > session->size - session->at) {
    session->no_data = true;
    png_error(png, "");
  }
  std::memcpy(to, session->data + session->at, count);
  session->at += count;
}

png_voidp on_allocate(png_structp png, png_alloc_size_t bytes) {
  auto* session = static_cast<Session*>(png_get_mem_ptr(png));
  void* place = nullptr;
  try {
    place = session->feed.scratch().arena.allocate(bytes);
  } catch (const std::bad_alloc&) {
  }
  if (!place) session->no_memory = true;
  return place;
}

void on_free(png_structp png, png_voidp place) {
  static_cast<Session*>(png_get_mem_ptr(png))->feed.scratch().arena.release(place);
}

bool create(Session& session) {
  session.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &session, on_error, on_warning, &session, on_allocate,
                                         on_free);
  session.info = session.png ? png_create_info_struct(session.png) : nullptr;
  if (!session.info) {
    session.feed.damaged(Status::kLimit, "decoding needs more memory than is allowed", 0);
    return false;
  }
  const bool tolerate = session.feed.params().has(kTolerateCorrupt);
  png_set_read_fn(session.png, &session, on_read);
  png_set_user_limits(session.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // pixels have been limited before
  png_set_crc_action(session.png, tolerate ? PNG_CRC_WARN_USE : PNG_CRC_ERROR_QUIT,
                     tolerate ? PNG_CRC_WARN_DISCARD : PNG_CRC_ERROR_QUIT);
  // Some writers declare a smaller window than they use; Pillow reads their files.
  png_set_option(session.png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
  // Text, profiles and the like are passed over, their checksums looked at.
  png_set_keep_unknown_chunks(session.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  return true;
}

void describe_pixels(Session& session, const PngHead& head) {
  PngPixels& pixels = session.pixels;
  png_colorp palette = nullptr;
  int colours = 0;
  switch (head.colour) {
    case PNG_COLOR_TYPE_GRAY:
      pixels.set_grey(head.bits);
      break;
    case PNG_COLOR_TYPE_PALETTE:
      png_get_PLTE(session.png, session.info, &palette, &colours);
      static_assert(sizeof(png_color) == 3, "libpng's palette is RGB bytes");
      pixels.set_palette(reinterpret_cast<const uint8_t*>(palette), colours);
      break;
    case PNG_COLOR_TYPE_GRAY_ALPHA:
      pixels.kind = PngPixels::Kind::kGreyAlpha;
      pixels.bytes = 2;
      break;
    default:
      pixels.kind = head.colour == PNG_COLOR_TYPE_RGB ? PngPixels::Kind::kRgb : PngPixels::Kind::kRgba;
      pixels.bytes = head.colour == PNG_COLOR_TYPE_RGB ? 3 : 4;
  }
}

void read_rows(Session& session, uint8_t* line) {
  RowFeed& feed = session.feed;
  const Region& region = feed.region();
  const size_t first = static_cast<size_t>(region.left) * static_cast<size_t>(session.pixels.bytes);
  for (int y = 0; y < region.top; y++) {
    if (y % kBatchRows == 0) feed.pause();
    png_read_row(session.png, nullptr, nullptr);
  }
  while (!feed.done()) {
    const int count = feed.batch();
    for (int r = 0; r < count; r++) {
      png_read_row(session.png, line, nullptr);
      to_rgbx(session.pixels, line + first, region.right - region.left, feed.place(feed.next_row() + r));
    }
    feed.resize(count);
  }
}

void run(Session& session, const PngHead& head, const RowWriter& writer) {
  if (setjmp(session.escape) != 0 || !create(session)) return;
  png_read_info(session.png, session.info);
  describe_pixels(session, head);
  png_set_packing(session.png);
  png_set_strip_16(session.png);
  png_read_update_info(session.png, session.info);
  const size_t row_bytes = static_cast<size_t>(head.width) * static_cast<size_t>(session.pixels.bytes);
  if (png_get_rowbytes(session.png, session.info) != row_bytes) png_error(session.png, "rows of another length");
  auto* line = static_cast<uint8_t*>(png_malloc(session.png, row_bytes + kRowSlack));
  std::memset(line + row_bytes, 0, kRowSlack);
  const Region& region = session.feed.region();
  if (session.feed.begin(writer, region.right - region.left, region.left)) read_rows(session, line);
}

bool admissible(const uint8_t* data, size_t size, RowFeed& feed, PngHead& head) {
  if (!read_png_head(data, size, head)) {
    feed.outcome().fail(Status::kCorrupt, "no PNG header chunk");
    return false;
  }
  if (head.interlaced || head.animated) {
    feed.outcome().fail(Status::kUnsupported, "this kind of PNG is not decoded natively");
    return false;
  }
  return feed.choose_region(head.width, head.height);
}

}  // namespace

void decode_png(const uint8_t* data, size_t size, const Params& params, uint8_t* out, Scratch& scratch,
                Outcome& outcome, Interlude* interlude) noexcept {
  Session session;
  session.data = data;
  session.size = size;
  session.at = 0;
  session.no_memory = session.no_data = false;
  session.feed.open(params, scratch, outcome, interlude);
  try {
    PngHead head;
    const RowWriter writer(params, out);
    if (admissible(data, size, session.feed, head)) run(session, head, writer);
  } catch (const std::bad_alloc&) {
    outcome.fail(Status::kLimit, "out of memory");
  }
  session.feed.close();
}

}  // namespace beyond
