// tests/fuzz/restart_fuzz.cc — FILE.meta of a warm restart: any bytes are decoded or refused.
//
// Once as they are, and once with every checksum made good, so that what lies behind them is
// reached.  What was decoded has to be exactly what was read.
// Corpus: FILE.meta of small servers; a new layout needs new ones (docs/RESTART.md says how they
// come about).

#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/restart.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  for (int pass = 0; pass < 2; ++pass) {
    larder::SavedStore saved;
    const absl::Status status = larder::DecodeSavedStore(bytes, &saved);
    if (status.ok() ? larder::EncodeSavedStore(saved) != bytes : status.message().empty()) {
      std::abort();
    }
    larder::SealSavedStore(&bytes);
  }
  return 0;
}
