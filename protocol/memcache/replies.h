// protocol/memcache/replies.h — the fixed answers, byte for byte memcached 1.6.45's.

#pragma once

#include <string_view>

namespace larder::memcache {

inline constexpr std::string_view kCrlf = "\r\n";
inline constexpr std::string_view kEnd = "END\r\n";
inline constexpr std::string_view kMetaEnd = "EN\r\n";
inline constexpr std::string_view kOk = "OK\r\n";
inline constexpr std::string_view kError = "ERROR\r\n";
inline constexpr std::string_view kStored = "STORED\r\n";
inline constexpr std::string_view kNotStored = "NOT_STORED\r\n";
inline constexpr std::string_view kExists = "EXISTS\r\n";
inline constexpr std::string_view kNotFound = "NOT_FOUND\r\n";
inline constexpr std::string_view kDeleted = "DELETED\r\n";
inline constexpr std::string_view kTouched = "TOUCHED\r\n";
inline constexpr std::string_view kReset = "RESET\r\n";

inline constexpr std::string_view kBadFormat = "CLIENT_ERROR bad command line format\r\n";
inline constexpr std::string_view kBadChunk = "CLIENT_ERROR bad data chunk\r\n";
inline constexpr std::string_view kBadExptime = "CLIENT_ERROR invalid exptime argument\r\n";
inline constexpr std::string_view kBadDelta = "CLIENT_ERROR invalid numeric delta argument\r\n";
inline constexpr std::string_view kNotNumeric =
    "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
inline constexpr std::string_view kFlushPrefixNotAllowed =
    "CLIENT_ERROR flush_prefix not allowed\r\n";
inline constexpr std::string_view kFlushNotAllowed = "CLIENT_ERROR flush_all not allowed\r\n";

// Of the meta commands.
inline constexpr std::string_view kBadToken = "CLIENT_ERROR bad token in command line format\r\n";
inline constexpr std::string_view kInvalidFlag = "CLIENT_ERROR invalid flag\r\n";
inline constexpr std::string_view kDuplicateFlag = "CLIENT_ERROR duplicate flag\r\n";
inline constexpr std::string_view kInvalidOrDuplicateFlag =
    "CLIENT_ERROR invalid or duplicate flag\r\n";
inline constexpr std::string_view kTooManyFlags = "CLIENT_ERROR options flags are too long\r\n";
inline constexpr std::string_view kOpaqueTooLong = "CLIENT_ERROR opaque token too long\r\n";
inline constexpr std::string_view kUndecodableKey = "CLIENT_ERROR error decoding key\r\n";
inline constexpr std::string_view kBadStoreMode = "CLIENT_ERROR invalid mode for ms M token\r\n";
inline constexpr std::string_view kBadCountMode = "CLIENT_ERROR invalid mode for ma M token\r\n";
inline constexpr std::string_view kNoMemoryCreating =
    "SERVER_ERROR Out of memory allocating new item\r\n";

inline constexpr std::string_view kTooLarge = "SERVER_ERROR object too large for cache\r\n";
inline constexpr std::string_view kNoMemoryStoring =
    "SERVER_ERROR out of memory storing object\r\n";
inline constexpr std::string_view kNoMemoryReading = "SERVER_ERROR Out of memory during read\r\n";
inline constexpr std::string_view kNoMemory = "SERVER_ERROR out of memory\r\n";
inline constexpr std::string_view kShutdownNotEnabled = "SERVER_ERROR: shutdown not enabled\r\n";
inline constexpr std::string_view kTopKeysNotAllowed = "CLIENT_ERROR stats topkeys not allowed\r\n";
inline constexpr std::string_view kWatchNotAllowed = "CLIENT_ERROR watch commands not allowed\r\n";
inline constexpr std::string_view kWatchNotAlone =
    "ERROR cannot pipeline other commands before watch\r\n";
inline constexpr std::string_view kTooManyWatchers =
    "WATCHER_TOO_MANY log watcher limit reached\r\n";
inline constexpr std::string_view kBadShutdownMode = "CLIENT_ERROR invalid shutdown mode\r\n";

inline constexpr std::string_view kReassignDisabled = "CLIENT_ERROR slab reassignment disabled\r\n";
inline constexpr std::string_view kReassignBusy = "BUSY currently processing reassign request\r\n";
inline constexpr std::string_view kReassignBadClass = "BADCLASS invalid src or dst class id\r\n";
inline constexpr std::string_view kReassignNoSpare = "NOSPARE source class has no spare pages\r\n";
inline constexpr std::string_view kReassignSame = "SAME src and dst class are identical\r\n";
inline constexpr std::string_view kBadWindow =
    "CLIENT_ERROR automove window too low or too high\r\n";
inline constexpr std::string_view kBadPercents = "ERROR hot and warm pcts must not exceed 80\r\n";
inline constexpr std::string_view kBadAgeFactors =
    "ERROR hot/warm age factors must be greater than 0\r\n";
inline constexpr std::string_view kCrawlerRuns = "ERROR failed to start lru crawler thread\r\n";
inline constexpr std::string_view kCrawlerDisabled = "CLIENT_ERROR lru crawler disabled\r\n";
inline constexpr std::string_view kCrawlerBusy = "BUSY currently processing crawler request\r\n";
inline constexpr std::string_view kCrawlerUnknownError = "ERROR an unknown error happened\r\n";
inline constexpr std::string_view kBadClassId = "BADCLASS invalid class id\r\n";
inline constexpr std::string_view kMetadumpNotAllowed = "ERROR metadump not allowed\r\n";
inline constexpr std::string_view kCachedumpNotAllowed =
    "CLIENT_ERROR stats cachedump not allowed\r\n";
inline constexpr std::string_view kDetailNotAllowed = "CLIENT_ERROR stats detail not allowed\r\n";
inline constexpr std::string_view kDetailUsage = "CLIENT_ERROR usage: stats detail on|off|dump\r\n";
inline constexpr std::string_view kBadCachedump = "CLIENT_ERROR bad command line\r\n";
inline constexpr std::string_view kIllegalSlabId = "CLIENT_ERROR Illegal slab id\r\n";
inline constexpr std::string_view kSleepTooLong =
    "CLIENT_ERROR sleep must be one second or less\r\n";
inline constexpr std::string_view kLimitTooSmall =
    "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n";
inline constexpr std::string_view kLimitInBytes =
    "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\r\n";
inline constexpr std::string_view kLimitOutOfBounds =
    "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n";

}  // namespace larder::memcache
