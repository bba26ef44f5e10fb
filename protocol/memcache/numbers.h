// protocol/memcache/numbers.h — the numbers of the text protocol: strict, range-checked, decimal.
//
// Every number from a client passes through here once; behind it there are only typed values.
// Null means: not such a number.  None of these allocates.

#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/store.h"

namespace larder::memcache {

// Digits only, at most 22 of them, below 2^64.
std::optional<uint64_t> ParseUint64(std::string_view text);

// Digits only, at most 11 of them, below 2^32.
std::optional<uint32_t> ParseUint32(std::string_view text);

// Digits with at most one '-' before them, within 32 bits.
std::optional<int32_t> ParseInt32(std::string_view text);

// A decimal fraction: with a sign, without digits before its point, with an exponent if need be.
std::optional<double> ParseDecimal(std::string_view text);

// Slab classes: numbers from 1 to `most` with commas between them.
using ClassSet = std::bitset<kMaxClasses>;
std::optional<ClassSet> ParseClasses(std::string_view text, size_t most);

// The length of a value: digits only, at most 2^31 - 3, so that the line end behind it still fits
// into a signed 32-bit number, as memcached has it.
std::optional<size_t> ParseValueBytes(std::string_view text);

// Client flags: digits with at most one '+' before them, below 2^32.
std::optional<uint32_t> ParseFlags(std::string_view text);

// Seconds, relative or absolute: digits with at most one sign before them.  64 bits wide, so that
// an absolute time after January 2038 is what it says.
std::optional<int64_t> ParseExptime(std::string_view text);

// The moment that `exptime` means: 0 never, negative at once, up to 30 days from now on, anything
// above a moment of Unix time.
Deadline DeadlineOf(int64_t exptime, TimeMs now, const Clock& clock);

}  // namespace larder::memcache
