#include "jpeg.h"

#include <csetjmp>
#include <cstring>
#include <new>

#include "entropy.h"
#include "frame.h"
#include "libjpeg.h"
#include "region.h"
#include "stream.h"

namespace beyond {
namespace {

// libjpeg leaves a failed decode by longjmp. Every frame between the setjmp below and libjpeg holds only
// trivially destructible objects, so nothing is skipped; what owns memory lives in Scratch.
struct Session {
  jpeg_decompress_struct cinfo;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf escape;
  const Params* params;
  Outcome* outcome;
  Interlude* interlude;
  int max_scans;
  size_t size;
  bool own_entropy;
};

constexpr int kAgain = 2;  // longjmp's value where the image is to be decoded again by libjpeg alone

Session* session_of(j_common_ptr cinfo) { return static_cast<Session*>(static_cast<void*>(cinfo)); }

void note_position(Session* session) {
  const jpeg_decompress_struct& cinfo = session->cinfo;
  if (cinfo.src) session->outcome->byte_position = static_cast<int64_t>(session->size - cinfo.src->bytes_in_buffer);
  // Before the header is read there is no row to tell of.
  if (cinfo.output_height) session->outcome->row = cinfo.output_scanline;
}

[[noreturn]] void leave(Session* session, Status status, const char* text) {
  note_position(session);
  session->outcome->fail(status, text);
  std::longjmp(session->escape, 1);
}

// libjpeg reads on from two bytes of its own after the file's end.
[[noreturn]] void leave_truncated(Session* session) {
  note_position(session);
  session->outcome->byte_position = static_cast<int64_t>(session->size);
  session->outcome->fail(Status::kTruncated, "it ends before its pixels are complete");
  std::longjmp(session->escape, 1);
}

[[noreturn]] void leave_with_message(Session* session, Status status) {
  char text[JMSG_LENGTH_MAX];
  (*session->errors.format_message)(reinterpret_cast<j_common_ptr>(&session->cinfo), text);
  leave(session, status, text);
}

void on_error(j_common_ptr cinfo) {
  Session* session = session_of(cinfo);
  switch (session->errors.msg_code) {
    case kEntropyGaveUp:
      std::longjmp(session->escape, kAgain);
    case 0:
    case JERR_OUT_OF_MEMORY:
    case JERR_NO_BACKING_STORE:
      leave(session, Status::kLimit, "decoding needs more memory than is allowed");
    case JERR_INPUT_EMPTY:
    case JERR_INPUT_EOF:
      leave_truncated(session);
    case JERR_CONVERSION_NOTIMPL:
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_SOF_UNSUPPORTED:
      leave_with_message(session, Status::kUnsupported);
    default:
      leave_with_message(session, Status::kCorrupt);
  }
}

// Warnings that leave the picture whole: cameras that pad between segments are common.
bool harmless(int code) { return code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM; }

// Traces (level >= 0) are of no interest; a warning (-1) says that the data is damaged.
void on_message(j_common_ptr cinfo, int level) {
  Session* session = session_of(cinfo);
  if (level >= 0 || harmless(session->errors.msg_code)) return;
  session->outcome->warnings++;
  if (session->params->has(kTolerateCorrupt)) return;
  if (session->errors.msg_code == JWRN_JPEG_EOF) leave_truncated(session);
  leave_with_message(session, Status::kCorrupt);
}

void on_output(j_common_ptr) {}

// libjpeg calls this before each read of rows, and once per row of blocks of each scan while it reads a
// progressive file whole.
void on_progress(j_common_ptr cinfo) {
  Session* session = session_of(cinfo);
  if (session->cinfo.input_scan_number > session->max_scans) {
    leave(session, Status::kCorrupt, "it has more scans than allowed");
  }
  if (session->interlude) session->outcome->paused_ns += session->interlude->play();
}

void prepare(Session& session, const Params& params, size_t size, Scratch& scratch, Outcome& outcome,
             bool own_entropy) {
  scratch.arena.reset();
  session.own_entropy = own_entropy;
  std::memset(&session.cinfo, 0, sizeof session.cinfo);
  session.params = &params;
  session.outcome = &outcome;
  session.size = size;
  session.max_scans = scratch.limits.max_scans;
  session.cinfo.err = jpeg_std_error(&session.errors);
  session.errors.error_exit = on_error;
  session.errors.emit_message = on_message;
  session.errors.output_message = on_output;
  session.progress.progress_monitor = on_progress;
  session.cinfo.client_data = &scratch.arena;
}

void run(Session& session, const uint8_t* data, size_t size, uint8_t* out, Scratch& scratch) {
  jpeg_decompress_struct& cinfo = session.cinfo;
  const Params& params = *session.params;
  jpeg_create_decompress(&cinfo);
  cinfo.progress = &session.progress;
  jpeg_mem_src(&cinfo, data, static_cast<unsigned long>(size));
  jpeg_read_header(&cinfo, TRUE);
  if (!valid_box(params, static_cast<int>(cinfo.image_width), static_cast<int>(cinfo.image_height))) {
    leave(&session, Status::kInvalid, "the source box does not lie in the image");
  }
  cinfo.out_color_space = JCS_EXT_RGBX;
  cinfo.scale_num = static_cast<unsigned>(choose_scale(params));
  cinfo.scale_denom = 8;
  cinfo.do_fancy_upsampling = params.has(kFancyUpsampling) ? TRUE : FALSE;
  session.outcome->scale_num = static_cast<int>(cinfo.scale_num);
  const char* refused = stream_rows(cinfo, params, out, scratch, *session.outcome, session.own_entropy);
  if (refused) leave(&session, Status::kUnsupported, refused);
}

bool admissible(const uint8_t* data, size_t size, const Limits& limits, Outcome& outcome) {
  Frame frame;
  if (!read_frame(data, size, frame)) {
    outcome.fail(Status::kCorrupt, "no JPEG frame header");
    return false;
  }
  if (!frame.supported()) {
    outcome.fail(Status::kUnsupported, "this kind of JPEG is not decoded natively");
    return false;
  }
  if (int64_t{frame.width} * frame.height > limits.max_pixels) {
    outcome.fail(Status::kLimit, "more pixels than allowed");
    return false;
  }
  if (frame.progressive() && count_scans(data, size) > limits.max_scans) {
    outcome.fail(Status::kCorrupt, "it has more scans than allowed");
    return false;
  }
  return true;
}

// One attempt; false if it is to be made again without our entropy decoder.
bool attempt(const uint8_t* data, size_t size, const Params& params, uint8_t* out, Scratch& scratch,
             Outcome& outcome, Interlude* interlude, bool own_entropy) {
  Session session;
  session.interlude = interlude;
  prepare(session, params, size, scratch, outcome, own_entropy);
  const int left_by = setjmp(session.escape);
  if (left_by == 0) run(session, data, size, out, scratch);
  // The arena owns all that libjpeg allocated and takes it back at the next attempt: nothing to destroy.
  return left_by != kAgain;
}

}  // namespace

void decode_jpeg(const uint8_t* data, size_t size, const Params& params, uint8_t* out, Scratch& scratch,
                 Outcome& outcome, Interlude* interlude) noexcept {
  outcome = Outcome{};
  outcome.start_ns = monotonic_ns();
  if (admissible(data, size, scratch.limits, outcome)) {
    try {
      const bool own_entropy = !params.has(kLibraryEntropy);
      if (!attempt(data, size, params, out, scratch, outcome, interlude, own_entropy)) {
        outcome.resize_ns = 0;
        outcome.warnings = 0;
        attempt(data, size, params, out, scratch, outcome, interlude, false);
      }
    } catch (const std::bad_alloc&) {
      outcome.fail(Status::kLimit, "out of memory");
    }
  }
  outcome.end_ns = monotonic_ns();
  outcome.decode_ns -= outcome.paused_ns;
}

}  // namespace beyond
