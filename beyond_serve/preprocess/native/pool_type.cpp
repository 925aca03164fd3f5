#include "pool_type.h"

#include <new>
#include <vector>
#include <system_error>

#include "arguments.h"
#include "pool.h"

namespace beyond {
namespace {

// A job with the Python objects it keeps alive. Touched with the GIL held, except for Job's own fields while
// the job is in flight.
struct Ticket {
  Job job;
  PyObject* token = nullptr;
  Py_buffer data{}, slot{};

  void release() {
    PyBuffer_Release(&data);
    PyBuffer_Release(&slot);
    Py_DECREF(token);
    token = nullptr;
  }
};

struct PoolObject {
  PyObject_HEAD
  Pool* pool;
  std::vector<Ticket*>* free_tickets;  // used again, so that a steady stream allocates none
  std::vector<Job*>* taken;
};

PoolObject* self_of(PyObject* object) { return reinterpret_cast<PoolObject*>(object); }

PyObject* pool_new(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"threads", "capacity", nullptr};
  int threads = 0, capacity = 0;
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "ii:Pool", const_cast<char**>(names), &threads, &capacity)) {
    return nullptr;
  }
  if (threads < 1 || threads > 1024 || capacity < 1 || capacity > (1 << 20)) {
    PyErr_SetString(PyExc_ValueError, "threads must be 1 to 1024, capacity 1 to 1048576");
    return nullptr;
  }
  auto allocate = reinterpret_cast<allocfunc>(PyType_GetSlot(type, Py_tp_alloc));
  PyObject* object = allocate(type, 0);
  if (!object) return nullptr;
  PoolObject* self = self_of(object);
  try {
    self->free_tickets = new std::vector<Ticket*>;
    self->taken = new std::vector<Job*>;
    self->free_tickets->reserve(static_cast<size_t>(capacity) + 1);
    self->taken->reserve(static_cast<size_t>(capacity));
    self->pool = new Pool(threads, static_cast<size_t>(capacity));
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_OSError, error.what());
    Py_DECREF(object);
    return nullptr;
  }
  return object;
}

Ticket* take_ticket(PoolObject* self) {
  if (self->free_tickets->empty()) return new (std::nothrow) Ticket;
  Ticket* ticket = self->free_tickets->back();
  self->free_tickets->pop_back();
  return ticket;
}

PyObject* pool_submit(PyObject* object, PyObject* args) {
  PoolObject* self = self_of(object);
  PyObject *token, *data, *params, *slot;
  if (!PyArg_ParseTuple(args, "OOOO:submit", &token, &data, &params, &slot)) return nullptr;
  Ticket* ticket = take_ticket(self);
  if (!ticket) return PyErr_NoMemory();
  Job& job = ticket->job;
  const bool parsed = parse_params(params, job.params) && view_data(data, ticket->data);
  if (!parsed || !view_slot(slot, job.params, ticket->slot)) {
    if (parsed) PyBuffer_Release(&ticket->data);
    self->free_tickets->push_back(ticket);
    return nullptr;
  }
  job.data = static_cast<const uint8_t*>(ticket->data.buf);
  job.size = static_cast<size_t>(ticket->data.len);
  job.out = static_cast<uint8_t*>(ticket->slot.buf);
  job.attached = ticket;
  Py_INCREF(token);
  ticket->token = token;
  if (!self->pool->submit(&job)) {
    ticket->release();
    self->free_tickets->push_back(ticket);
    Py_RETURN_FALSE;
  }
  Py_RETURN_TRUE;
}

// A list item (token, outcome); consumes the ticket whatever happens.
PyObject* record_of(PoolObject* self, Job* job) {
  Ticket* ticket = static_cast<Ticket*>(job->attached);
  PyObject* outcome = outcome_tuple(job->outcome);
  PyObject* record = outcome ? PyTuple_Pack(2, ticket->token, outcome) : nullptr;
  Py_XDECREF(outcome);
  ticket->release();
  self->free_tickets->push_back(ticket);
  return record;
}

PyObject* pool_completed(PyObject* object, PyObject*) {
  PoolObject* self = self_of(object);
  // Moved out while it is walked: giving back a token may run Python code that calls this again.
  std::vector<Job*> taken = std::move(*self->taken);
  taken.clear();
  self->pool->take(taken);
  PyObject* list = PyList_New(0);
  for (Job* job : taken) {
    PyObject* record = record_of(self, job);
    // Every ticket is given back even when Python has run out of memory for the list.
    if (!record || !list || PyList_Append(list, record) < 0) Py_CLEAR(list);
    Py_XDECREF(record);
  }
  *self->taken = std::move(taken);
  return list;
}

PyObject* pool_fileno(PyObject* object, PyObject*) { return PyLong_FromLong(self_of(object)->pool->fileno()); }

PyObject* pool_waiting(PyObject* object, PyObject*) { return PyLong_FromSize_t(self_of(object)->pool->waiting()); }

PyObject* pool_close(PyObject* object, PyObject*) {
  Pool* pool = self_of(object)->pool;
  Py_BEGIN_ALLOW_THREADS;
  pool->close();
  Py_END_ALLOW_THREADS;
  Py_RETURN_NONE;
}

void pool_dealloc(PyObject* object) {
  PoolObject* self = self_of(object);
  if (self->pool) {
    Py_BEGIN_ALLOW_THREADS;
    self->pool->close();
    Py_END_ALLOW_THREADS;
    self->taken->clear();
    self->pool->take(*self->taken);
    for (Job* job : *self->taken) {
      static_cast<Ticket*>(job->attached)->release();
      delete static_cast<Ticket*>(job->attached);
    }
  }
  delete self->pool;
  delete self->taken;
  if (self->free_tickets) {
    for (Ticket* ticket : *self->free_tickets) delete ticket;
  }
  delete self->free_tickets;
  PyTypeObject* type = Py_TYPE(object);
  auto free_object = reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free));
  free_object(object);
  Py_DECREF(type);
}

PyMethodDef kMethods[] = {
    {"submit", pool_submit, METH_VARARGS,
     "submit(token, data, params, slot) -> False when full or closed. Keeps token, data and slot until completed."},
    {"completed", pool_completed, METH_NOARGS, "completed() -> [(token, outcome)], all finished since the last call."},
    {"fileno", pool_fileno, METH_NOARGS, "fileno() -> descriptor that is readable while something is completed."},
    {"waiting", pool_waiting, METH_NOARGS, "waiting() -> jobs that no thread has begun."},
    {"close", pool_close, METH_NOARGS, "close(): cancel the waiting, wait for the running, join the threads."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot kSlots[] = {
    {Py_tp_new, reinterpret_cast<void*>(pool_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(pool_dealloc)},
    {Py_tp_methods, kMethods},
    {0, nullptr},
};

PyType_Spec kSpec = {"beyond_serve.preprocess._native.Pool", sizeof(PoolObject), 0, Py_TPFLAGS_DEFAULT, kSlots};

}  // namespace

int add_pool_type(PyObject* module) {
  PyObject* type = PyType_FromSpec(&kSpec);
  if (!type) return -1;
  const int added = PyModule_AddObjectRef(module, "Pool", type);
  Py_DECREF(type);
  return added;
}

}  // namespace beyond
