#include "pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <limits>

#include "cost.h"
#include "image.h"
#include "interlude.h"

namespace beyond {
namespace {

constexpr int64_t kNobody = std::numeric_limits<int64_t>::max();
// A job may be overtaken by what arrives within so many times its own cost: small ones get through, and
// nothing waits for ever.
constexpr int64_t kPatience = 8;

bool later(const Job* a, const Job* b) { return a->key > b->key; }

// Workers leave all signals to the interpreter's main thread.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

// One thread's memory, and what lets shorter jobs interrupt a longer one on it: one level deep.
class Pool::Worker : public Interlude {
 public:
  explicit Worker(Pool& pool) : pool_(pool), main_(Limits{}), nested_(Limits{}) {}

  void run() {
    while (Job* job = pool_.next()) {
      current_key_ = job->key;
      decode_image(job->data, job->size, job->params, job->out, main_, job->outcome, this);
      pool_.finish(job);
    }
  }

  int64_t play() noexcept override {
    if (pool_.front_key_.load(std::memory_order_relaxed) >= current_key_) return 0;
    const int64_t start = monotonic_ns();
    while (Job* job = pool_.next_before(current_key_)) {
      decode_image(job->data, job->size, job->params, job->out, nested_, job->outcome, nullptr);
      pool_.finish(job);
    }
    return monotonic_ns() - start;
  }

 private:
  Pool& pool_;
  int64_t current_key_ = 0;
  Scratch main_, nested_;
};

Pool::Pool(int threads, size_t capacity) : capacity_(capacity), front_key_(kNobody) {
  // All room is made now: neither submit() nor finish() allocates.
  heap_.reserve(capacity);
  finished_.reserve(capacity);
  const SignalsBlocked blocked;
  try {
    for (int i = 0; i < threads; i++) {
      workers_.push_back(std::make_unique<Worker>(*this));
      threads_.emplace_back(&Worker::run, workers_.back().get());
    }
  } catch (...) {
    close();
    throw;
  }
}

Pool::~Pool() { close(); }

bool Pool::submit(Job* job) {
  job->key = monotonic_ns() + kPatience * predicted_cost(job->data, job->size, job->params);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (closed_ || in_flight_ == capacity_) return false;
    in_flight_++;
    heap_.push_back(job);
    std::push_heap(heap_.begin(), heap_.end(), later);
    front_key_.store(heap_.front()->key, std::memory_order_relaxed);
  }
  work_.notify_one();
  return true;
}

Job* Pool::pop_locked() {
  std::pop_heap(heap_.begin(), heap_.end(), later);
  Job* job = heap_.back();
  heap_.pop_back();
  front_key_.store(heap_.empty() ? kNobody : heap_.front()->key, std::memory_order_relaxed);
  return job;
}

Job* Pool::next() {
  std::unique_lock<std::mutex> lock(mutex_);
  work_.wait(lock, [this] { return closed_ || !heap_.empty(); });
  return heap_.empty() ? nullptr : pop_locked();
}

Job* Pool::next_before(int64_t key) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return heap_.empty() || heap_.front()->key >= key ? nullptr : pop_locked();
}

void Pool::finish(Job* job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  finished_.push_back(job);
  if (finished_.size() == 1) wakeup_.raise();
}

void Pool::take(std::vector<Job*>& into) {
  const std::lock_guard<std::mutex> lock(mutex_);
  wakeup_.clear();
  into.insert(into.end(), finished_.begin(), finished_.end());
  in_flight_ -= finished_.size();
  finished_.clear();
}

size_t Pool::waiting() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return heap_.size();
}

void Pool::close() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    for (Job* job : heap_) {
      job->outcome = Outcome{};
      job->outcome.start_ns = job->outcome.end_ns = monotonic_ns();
      job->outcome.fail(Status::kCancelled, "the pool was closed");
      finished_.push_back(job);
    }
    if (!heap_.empty()) wakeup_.raise();
    heap_.clear();
    front_key_.store(kNobody, std::memory_order_relaxed);
  }
  work_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace beyond
