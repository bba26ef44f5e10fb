# Warnings, hardening and sanitizers of every target of ours: link to larder_flags.
find_package(Threads REQUIRED)
add_library(larder_flags INTERFACE)
target_include_directories(larder_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_link_libraries(larder_flags INTERFACE Threads::Threads)
target_compile_options(larder_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Werror
  # Not -fPIC: all of it goes into executables, and GCC inlines nothing that could be replaced.
  -fPIE -fstack-protector-strong -fno-omit-frame-pointer
  # GCC 12 takes std::string's operator+ for an overlapping copy (its bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety -Wthread-safety-beta>)
target_compile_definitions(larder_flags INTERFACE _GLIBCXX_ASSERTIONS
  $<$<BOOL:${LARDER_STRUCTURES}>:LARDER_STRUCTURES>)
if(LARDER_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC's flow analysis does not see through the sanitizers' checks.
  target_compile_options(larder_flags INTERFACE -Wno-maybe-uninitialized)
endif()
if(LARDER_SANITIZE STREQUAL "address")
  target_compile_options(larder_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all)
  target_link_options(larder_flags INTERFACE -fsanitize=address,undefined)
elseif(LARDER_SANITIZE STREQUAL "thread")
  target_compile_options(larder_flags INTERFACE -fsanitize=thread)
  target_link_options(larder_flags INTERFACE -fsanitize=thread)
elseif(NOT LARDER_FUZZ)
  target_compile_definitions(larder_flags INTERFACE $<$<CONFIG:Release,RelWithDebInfo>:_FORTIFY_SOURCE=3>)
endif()
if(LARDER_FUZZ)
  # Coverage everywhere; each fuzzer links the engine that looks at it.  Another list of what is not
  # covered has another name, so that ninja and ccache build anew.
  set(uncovered ${PROJECT_SOURCE_DIR}/tests/fuzz/uncovered.txt)
  file(SHA256 ${uncovered} uncovered_hash)
  set(uncovered_copy ${PROJECT_BINARY_DIR}/uncovered-${uncovered_hash}.txt)
  configure_file(${uncovered} ${uncovered_copy} COPYONLY)
  target_compile_options(larder_flags INTERFACE
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
    -fsanitize-coverage-ignorelist=${uncovered_copy})
  target_link_options(larder_flags INTERFACE -fsanitize=address,undefined)
endif()
target_link_options(larder_flags INTERFACE -pie -Wl,-z,relro,-z,now -Wl,--as-needed)
