// beyond_serve.preprocess._native: the thin Python face of the core, in the stable ABI of Python 3.11.
#include "arguments.h"
#include "baseline.h"
#include "image.h"
#include "pool_type.h"
#include "resample.h"

namespace beyond {
namespace {

Scratch& thread_scratch() {
  static thread_local Scratch scratch{Limits{}};
  return scratch;
}

PyObject* decode(PyObject*, PyObject* args) {
  PyObject *data_object, *params_object, *slot_object;
  if (!PyArg_ParseTuple(args, "OOO:decode", &data_object, &params_object, &slot_object)) return nullptr;
  Params params;
  Py_buffer data, slot;
  if (!parse_params(params_object, params) || !view_data(data_object, data)) return nullptr;
  if (!view_slot(slot_object, params, slot)) {
    PyBuffer_Release(&data);
    return nullptr;
  }
  Outcome outcome;
  Py_BEGIN_ALLOW_THREADS;
  decode_image(static_cast<const uint8_t*>(data.buf), static_cast<size_t>(data.len), params,
               static_cast<uint8_t*>(slot.buf), thread_scratch(), outcome, nullptr);
  Py_END_ALLOW_THREADS;
  PyBuffer_Release(&slot);
  PyBuffer_Release(&data);
  return outcome_tuple(outcome);
}

PyObject* entropy_ns(PyObject*, PyObject* data_object) {
  Py_buffer data;
  if (!view_data(data_object, data)) return nullptr;
  int64_t taken;
  Py_BEGIN_ALLOW_THREADS;
  taken = time_entropy_decoding(static_cast<const uint8_t*>(data.buf), static_cast<size_t>(data.len), thread_scratch());
  Py_END_ALLOW_THREADS;
  PyBuffer_Release(&data);
  return PyLong_FromLongLong(taken);
}

PyObject* region_ns(PyObject*, PyObject* args) {
  PyObject *data_object, *params_object;
  if (!PyArg_ParseTuple(args, "OO:region_ns", &data_object, &params_object)) return nullptr;
  Params params;
  Py_buffer data;
  if (!parse_params(params_object, params) || !view_data(data_object, data)) return nullptr;
  int64_t taken;
  Py_BEGIN_ALLOW_THREADS;
  taken = time_region_decoding(static_cast<const uint8_t*>(data.buf), static_cast<size_t>(data.len), params,
                               thread_scratch());
  Py_END_ALLOW_THREADS;
  PyBuffer_Release(&data);
  return PyLong_FromLongLong(taken);
}

PyMethodDef kMethods[] = {
    {"decode", decode, METH_VARARGS,
     "decode(data, params, slot) -> (status, message, byte, row, warnings, scale_num, start_ns, end_ns, decode_ns, "
     "resize_ns, paused_ns, format). The GIL is released while it runs."},
    {"entropy_ns", entropy_ns, METH_O, "entropy_ns(data) -> time of entropy decoding alone, -1 on error."},
    {"region_ns", region_ns, METH_VARARGS,
     "region_ns(data, params) -> time of libjpeg-turbo's decode of the region alone, -1 on error."},
    {nullptr, nullptr, 0, nullptr},
};

int fill_module(PyObject* module) {
  if (PyModule_AddStringConstant(module, "SIMD", passes().name) < 0) return -1;
  return add_pool_type(module);
}

PyModuleDef_Slot kSlots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(fill_module)},
    {0, nullptr},
};

PyModuleDef kModule = {PyModuleDef_HEAD_INIT, "_native", "Encoded image to model input in one call.", 0, kMethods, kSlots,
                       nullptr,               nullptr,   nullptr};

}  // namespace
}  // namespace beyond

PyMODINIT_FUNC PyInit__native() { return PyModuleDef_Init(&beyond::kModule); }
