// protocol/memcache/key_codec.h — keys that are not text: base64 on the wire, bytes in the store.
//
// The standard alphabet, padding required.  Nothing here allocates.  Source: RFC 4648, section 4.

#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "core/store.h"

namespace larder::memcache {

inline constexpr size_t kMaxEncodedKey = (kMaxKeyBytes + 2) / 3 * 4;

// Decodes into `room`, which the result borrows; empty when `text` is not base64, or not strictly.
// REQUIRES: text.size() <= kMaxKeyBytes.
std::string_view DecodeKey(std::string_view text, std::array<char, kMaxKeyBytes>& room);

// Encodes into `room`, which the result borrows.  REQUIRES: key.size() <= kMaxKeyBytes.
std::string_view EncodeKey(std::string_view key, std::array<char, kMaxEncodedKey>& room);

}  // namespace larder::memcache
