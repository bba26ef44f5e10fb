# Release builds link abseil's archives instead of its two dozen shared libraries, and with nothing
# else in C++ left, the archive of the C++ library: a start without most of the dynamic linking, and
# 1.3 MiB less resident memory.
get_property(imported DIRECTORY PROPERTY IMPORTED_TARGETS)
foreach(target IN LISTS imported)
  if(NOT target MATCHES "^absl::")
    continue()
  endif()
  get_target_property(location ${target} IMPORTED_LOCATION_NONE)  # Debian builds it without a type
  string(REGEX REPLACE "\\.so[.0-9]*$" ".a" archive "${location}")
  if(EXISTS "${archive}")
    set_target_properties(${target} PROPERTIES IMPORTED_LOCATION_NONE "${archive}" IMPORTED_SONAME_NONE "")
  endif()
endforeach()
