// beyond_serve.preprocess._native: the thin Python face of the core, in the stable ABI of Python 3.11.
#include "arguments.h"
#include "jpeg.h"
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
  decode_jpeg(static_cast<const uint8_t*>(data.buf), static_cast<size_t>(data.len), params,
              static_cast<uint8_t*>(slot.buf), thread_scratch(), outcome);
  Py_END_ALLOW_THREADS;
  PyBuffer_Release(&slot);
  PyBuffer_Release(&data);
  return outcome_tuple(outcome);
}

PyMethodDef kMethods[] = {
    {"decode", decode, METH_VARARGS,
     "decode(data, params, slot) -> (status, message, byte, row, warnings, scale_num, start_ns, end_ns, decode_ns, "
     "resize_ns). The GIL is released while it runs."},
    {nullptr, nullptr, 0, nullptr},
};

int fill_module(PyObject* module) {
  return PyModule_AddStringConstant(module, "SIMD", passes().name);
}

PyModuleDef_Slot kSlots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(fill_module)},
    {0, nullptr},
};

PyModuleDef kModule = {PyModuleDef_HEAD_INIT, "_native", "JPEG to model input in one call.", 0, kMethods, kSlots,
                       nullptr,               nullptr,   nullptr};

}  // namespace
}  // namespace beyond

PyMODINIT_FUNC PyInit__native() { return PyModuleDef_Init(&beyond::kModule); }
