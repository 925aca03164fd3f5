#include "baseline.h"

#include <csetjmp>
#include <new>

#include "libjpeg.h"
#include "region.h"

namespace beyond {
namespace {

struct Session {
  jpeg_decompress_struct cinfo;
  jpeg_error_mgr errors;
  std::jmp_buf escape;
};

void on_error(j_common_ptr cinfo) { std::longjmp(static_cast<Session*>(static_cast<void*>(cinfo))->escape, 1); }

void open(Session& session, const uint8_t* data, size_t size) {
  jpeg_create_decompress(&session.cinfo);
  jpeg_mem_src(&session.cinfo, data, static_cast<unsigned long>(size));
  jpeg_read_header(&session.cinfo, TRUE);
}

void read_region(jpeg_decompress_struct& cinfo, const Params& params, Scratch& scratch) {
  cinfo.out_color_space = JCS_EXT_RGBX;
  cinfo.scale_num = static_cast<unsigned>(choose_scale(params));
  cinfo.scale_denom = 8;
  cinfo.do_fancy_upsampling = params.has(kFancyUpsampling) ? TRUE : FALSE;
  jpeg_start_decompress(&cinfo);
  const int width = static_cast<int>(cinfo.output_width);
  scratch.horizontal.compute(horizontal_key(params, static_cast<int>(cinfo.scale_num), width));
  scratch.vertical.compute(
      vertical_key(params, static_cast<int>(cinfo.scale_num), static_cast<int>(cinfo.output_height)));
  const Region region = decode_region(scratch.horizontal, scratch.vertical, width);
  JDIMENSION left = static_cast<JDIMENSION>(region.left);
  JDIMENSION columns = static_cast<JDIMENSION>(region.right - region.left);
  jpeg_crop_scanline(&cinfo, &left, &columns);
  const size_t row_bytes = static_cast<size_t>(columns) * 4 + kDecodedSlack;
  if (scratch.decoded.size() < row_bytes) scratch.decoded.resize(row_bytes);
  JSAMPROW row = scratch.decoded.data();
  if (region.top > 0) jpeg_skip_scanlines(&cinfo, static_cast<JDIMENSION>(region.top));
  while (static_cast<int>(cinfo.output_scanline) < region.bottom) jpeg_read_scanlines(&cinfo, &row, 1);
}

template <typename Work>
int64_t timed(const uint8_t* data, size_t size, Scratch& scratch, Work work) noexcept {
  scratch.arena.reset();
  Session session;
  session.cinfo.err = jpeg_std_error(&session.errors);
  session.errors.error_exit = on_error;
  session.cinfo.client_data = &scratch.arena;
  const int64_t start = monotonic_ns();
  try {
    if (setjmp(session.escape) != 0) return -1;
    open(session, data, size);
    work(session.cinfo);
  } catch (const std::bad_alloc&) {
    return -1;
  }
  return monotonic_ns() - start;
}

}  // namespace

int64_t time_entropy_decoding(const uint8_t* data, size_t size, Scratch& scratch) noexcept {
  return timed(data, size, scratch, [](jpeg_decompress_struct& cinfo) { jpeg_read_coefficients(&cinfo); });
}

int64_t time_region_decoding(const uint8_t* data, size_t size, const Params& params, Scratch& scratch) noexcept {
  return timed(data, size, scratch,
               [&](jpeg_decompress_struct& cinfo) { read_region(cinfo, params, scratch); });
}

}  // namespace beyond
