#include "wakeup.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#if defined(__linux__)
#include <sys/eventfd.h>
#endif

namespace beyond {

Wakeup::Wakeup() {
#if defined(__linux__)
  read_end_ = write_end_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (read_end_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
#else
  int ends[2];
  if (pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  for (int end : ends) {
    fcntl(end, F_SETFL, O_NONBLOCK);
    fcntl(end, F_SETFD, FD_CLOEXEC);
  }
  read_end_ = ends[0];
  write_end_ = ends[1];
#endif
}

Wakeup::~Wakeup() {
  close(read_end_);
  if (write_end_ != read_end_) close(write_end_);
}

void Wakeup::raise() const {
  const uint64_t one = 1;
  // A full counter or pipe is readable already, which is all that is wanted.
  [[maybe_unused]] const ssize_t written = write(write_end_, &one, sizeof one);
}

void Wakeup::clear() const {
  uint64_t count;
  while (read(read_end_, &count, sizeof count) > 0 && read_end_ != write_end_) {
  }
}

}  // namespace beyond
