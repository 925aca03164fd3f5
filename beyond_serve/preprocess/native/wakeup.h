// A file descriptor that is readable while there is news, for an event loop.
#pragma once

namespace beyond {

class Wakeup {
 public:
  Wakeup();  // throws std::system_error
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  int fileno() const { return read_end_; }
  void raise() const;
  void clear() const;

 private:
  int read_end_ = -1, write_end_ = -1;  // the same for an eventfd
};

}  // namespace beyond
