// Threads that decode. Jobs are pointers in a bounded queue ordered by predicted cost and age; finished jobs
// gather until the event loop takes them all at one wake-up. No Python in here.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "params.h"
#include "scratch.h"
#include "wakeup.h"

namespace beyond {

struct Job {
  const uint8_t* data = nullptr;
  size_t size = 0;
  uint8_t* out = nullptr;
  Params params{};
  Outcome outcome;
  int64_t key = 0;           // smaller goes first
  void* attached = nullptr;  // the submitter's
};

class Pool {
 public:
  // Throws std::system_error when threads or descriptors run out.
  Pool(int threads, size_t capacity);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // False when `capacity` jobs are in flight (waiting, running, or finished and not yet taken), or when closed.
  // `job`'s memory must stay until it is taken back.
  bool submit(Job* job);
  // Moves all finished jobs to the end of `into`, oldest first, and clears the wake-up.
  void take(std::vector<Job*>& into);
  // Ends the waiting jobs as cancelled, waits for the running ones and joins the threads. Idempotent.
  void close();
  int fileno() const { return wakeup_.fileno(); }
  size_t waiting();

 private:
  class Worker;
  Job* next();
  Job* next_before(int64_t key);
  Job* pop_locked();
  void finish(Job* job);

  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable work_;
  bool closed_ = false;
  size_t in_flight_ = 0;
  std::vector<Job*> heap_;              // the job of the smallest key in front
  std::atomic<int64_t> front_key_;      // that key, so that running jobs can look without the lock
  std::vector<Job*> finished_;
  Wakeup wakeup_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
};

}  // namespace beyond
