#include "core/memory/memory_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "core/memory/page_pool.h"

namespace larder {
namespace {

// Of 16 bytes a page, a FILE.meta of this size would describe 16 TiB.
constexpr uint64_t kMostMetaBytes = uint64_t{256} << 20;

absl::Status Failure(const std::string& path, const char* what) {
  return absl::ErrnoToStatus(errno, absl::StrCat(path, ": ", what));
}

struct ScopedFd {
  ~ScopedFd() {
    if (fd >= 0) close(fd);
  }
  const int fd;
};

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

absl::Status MemoryFile::Open(const std::string& path, uint64_t limit_bytes,
                              std::shared_ptr<MemoryFile>* file) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
  if (fd < 0) return Failure(path, "cannot be opened as the memory file");
  const std::shared_ptr<MemoryFile> opened(
      new MemoryFile(path, fd, PagePool::FileBytes(limit_bytes)));
  struct stat status {};
  if (fstat(fd, &status) != 0) return Failure(path, "cannot be looked at");
  if (!S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": a memory file is a regular file"));
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Failure(path, "cannot be locked");
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": another server is using this memory file"));
  }
  opened->was_empty_ = status.st_size == 0;
  opened->length_ = static_cast<uint64_t>(status.st_size);
  if (absl::Status taken = opened->TakeMeta(); !taken.ok()) return taken;
  if (!opened->had_meta_ || opened->length_ < opened->bytes_) {
    if (absl::Status cleared = opened->Clear(); !cleared.ok()) return cleared;
  }
  *file = opened;
  return absl::OkStatus();
}

MemoryFile::~MemoryFile() {
  UnmapTail();
  close(fd_);
}

absl::Status MemoryFile::TakeMeta() {
  const std::string path = meta_path();
  {
    const ScopedFd in{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (in.fd < 0) {
      return errno == ENOENT ? absl::OkStatus() : Failure(path, "cannot be opened");
    }
    had_meta_ = true;
    struct stat status {};
    const bool readable = fstat(in.fd, &status) == 0 && S_ISREG(status.st_mode) &&
                          static_cast<uint64_t>(status.st_size) <= kMostMetaBytes;
    meta_.resize(readable ? static_cast<size_t>(status.st_size) : 0);
    size_t got = 0;
    while (got < meta_.size()) {
      const ssize_t n = read(in.fd, meta_.data() + got, meta_.size() - got);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      got += static_cast<size_t>(n);
    }
    meta_.resize(got);
  }
  if (unlink(path.c_str()) != 0) return Failure(path, "cannot be removed");
  return SyncFolder();
}

absl::Status MemoryFile::SyncFolder() const {
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const ScopedFd opened{open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (opened.fd < 0) return Failure(folder, "cannot be opened");
  // Some file systems have nothing to synchronise, and say so.
  if (fsync(opened.fd) != 0 && errno != EINVAL) return Failure(folder, "cannot be synchronised");
  return absl::OkStatus();
}

absl::Status MemoryFile::Clear() const {
  if (ftruncate(fd_, 0) != 0 || ftruncate(fd_, static_cast<off_t>(bytes_ + tail_bytes_)) != 0) {
    return Failure(path_, "cannot be made as large as -m needs");
  }
  return absl::OkStatus();
}

char* MemoryFile::MapTail(uint64_t bytes) {
  if (ftruncate(fd_, static_cast<off_t>(bytes_ + bytes)) != 0) return nullptr;
  tail_bytes_ = bytes;
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_,
                      static_cast<off_t>(bytes_));
  tail_ = mapped == MAP_FAILED ? nullptr : static_cast<char*>(mapped);
  return tail_;
}

void MemoryFile::UnmapTail() {
  if (tail_ != nullptr) munmap(tail_, tail_bytes_);
  tail_ = nullptr;
}

bool MemoryFile::TakeRoom(const void* at, size_t bytes) const {
  const auto behind = static_cast<uint64_t>(static_cast<const char*>(at) - tail_);
  return TakeRoomIn(fd_, bytes_ + behind, bytes);
}

bool MemoryFile::TakeRoomIn(int file, uint64_t offset, uint64_t bytes) {
  int refused = 0;
  do {
    refused = posix_fallocate(file, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  } while (refused == EINTR);
  return refused == 0;
}

bool MemoryFile::IsSmallerThan(uint64_t bytes) const {
  struct stat status {};
  return fstat(fd_, &status) != 0 || static_cast<uint64_t>(status.st_blocks) * 512 < bytes;
}

absl::Status MemoryFile::WriteMeta(std::string_view bytes) const {
  const std::string unfinished = meta_path() + ".tmp";
  absl::Status status;
  {
    const ScopedFd out{open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (out.fd < 0) return Failure(unfinished, "cannot be written");
    if (!WriteAll(out.fd, bytes) || fsync(out.fd) != 0) {
      status = Failure(unfinished, "cannot be written");
    }
  }
  if (status.ok() && rename(unfinished.c_str(), meta_path().c_str()) != 0) {
    status = Failure(meta_path(), "cannot be put in place");
  }
  if (!status.ok()) {
    unlink(unfinished.c_str());
    return status;
  }
  return SyncFolder();
}

}  // namespace larder
