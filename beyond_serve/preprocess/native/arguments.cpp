#include "arguments.h"

#include <cstring>

namespace beyond {
namespace {

constexpr Py_ssize_t kFields = 14;
constexpr double kLargestNumber = 1 << 30;

bool to_doubles(PyObject* tuple, double* values) {
  for (Py_ssize_t i = 0; i < kFields; i++) {
    PyObject* item = PyTuple_GetItem(tuple, i);
    if (!item) return false;
    values[i] = PyFloat_AsDouble(item);
    if (values[i] == -1.0 && PyErr_Occurred()) return false;
  }
  return true;
}

bool refuse(const char* text) {
  PyErr_SetString(PyExc_ValueError, text);
  return false;
}

bool in_range(double value, double low, double high) { return value >= low && value <= high; }

bool check(const Params& p) {
  if (!in_range(p.width, 1, kMaxOutputSide) || !in_range(p.height, 1, kMaxOutputSide)) {
    return refuse("width and height of the output must be 1 to 16384");
  }
  if (static_cast<int>(p.filter) >= kFilters) return refuse("unknown filter");
  if (!in_range(p.orientation, 1, 8)) return refuse("orientation must be 1 to 8");
  if (p.flags > kAllFlags) return refuse("unknown flags");
  const bool inside =
      p.left + p.stored_width() <= p.resized_width && p.top + p.stored_height() <= p.resized_height;
  return inside || refuse("the window does not lie in the resized image");
}

}  // namespace

bool parse_params(PyObject* tuple, Params& params) {
  if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != kFields) return refuse("params must be a tuple of 14 numbers");
  double v[kFields];
  if (!to_doubles(tuple, v)) return false;
  for (int i = 4; i < kFields; i++) {
    if (!in_range(v[i], 0, kLargestNumber)) return refuse("params must not be negative, nor very large");
  }
  params = {v[0], v[1], v[2], v[3], int(v[4]), int(v[5]), int(v[6]), int(v[7]), int(v[8]), int(v[9]),
            static_cast<Filter>(int(v[10])), int(v[11]), v[12], static_cast<unsigned>(v[13])};
  return check(params);
}

bool view_data(PyObject* object, Py_buffer& view) { return PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) == 0; }

bool view_slot(PyObject* object, const Params& params, Py_buffer& view) {
  // ANY_CONTIGUOUS would admit Fortran order; ND without strides is refused by exporters that are not C-contiguous.
  if (PyObject_GetBuffer(object, &view, PyBUF_ND | PyBUF_WRITABLE) != 0) return false;
  const bool fits = view.itemsize == 1 && static_cast<size_t>(view.len) == params.output_bytes();
  if (fits) return true;
  PyErr_Format(PyExc_ValueError, "the slot has %zd bytes of item size %zd; the output needs %zu bytes of item size 1",
               view.len, view.itemsize, params.output_bytes());
  PyBuffer_Release(&view);
  return false;
}

PyObject* outcome_tuple(const Outcome& o) {
  PyObject* message = nullptr;
  if (o.message[0]) {
    message = PyUnicode_DecodeUTF8(o.message, static_cast<Py_ssize_t>(std::strlen(o.message)), "replace");
    if (!message) return nullptr;
  } else {
    Py_INCREF(Py_None);
    message = Py_None;
  }
  return Py_BuildValue("(iNLLiiLLLLLs)", static_cast<int>(o.status), message, static_cast<long long>(o.byte_position),
                       static_cast<long long>(o.row), o.warnings, o.scale_num, static_cast<long long>(o.start_ns),
                       static_cast<long long>(o.end_ns), static_cast<long long>(o.decode_ns),
                       static_cast<long long>(o.resize_ns), static_cast<long long>(o.paused_ns), o.format);
}

}  // namespace beyond
