# Functions that every folder of src/ uses: one library a layer, tests beside it.

# Flags of every target of Ingot.
add_library(ingot_flags INTERFACE)
target_compile_features(ingot_flags INTERFACE cxx_std_20)
# CMake 3.25 does not know that nvcc has it.
target_compile_options(ingot_flags INTERFACE
  $<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>>)
target_include_directories(ingot_flags INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
                           $<INSTALL_INTERFACE:include/ingot>)

# Options of the C++ compiler; nvcc passes them on to the one that it calls for the host.
function(ingot_compile_options)
  set(of_host ${ARGN})
  list(TRANSFORM of_host PREPEND -Xcompiler=)
  target_compile_options(ingot_flags INTERFACE
    $<BUILD_INTERFACE:$<$<NOT:$<COMPILE_LANGUAGE:CUDA>>:${ARGN}>>
    $<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:CUDA>:${of_host}>>)
endfunction()

# The same bits on every x86 level (promise P5). Kernels contract, but where they say what is
# rounded.
ingot_compile_options(-ffp-contract=off)
if(INGOT_DEVELOPER)
  # Designated initializers leave out what keeps its default, on purpose.
  ingot_compile_options(-Wall -Wextra -Werror -Wno-missing-field-initializers)
endif()
if(INGOT_SANITIZE)
  # Not the sources of kernels, of which the emulation has a copy that is.
  target_compile_options(ingot_flags INTERFACE
    $<$<NOT:$<COMPILE_LANGUAGE:CUDA>>:-fsanitize=${INGOT_SANITIZE};-fno-sanitize-recover=all;-fno-omit-frame-pointer>)
  target_link_options(ingot_flags INTERFACE -fsanitize=${INGOT_SANITIZE})
endif()

# ingot_library(NAME SOURCES a.cc b.cc [DEPENDS other_layer Third::party])
# makes ingot_NAME; sources are listed by hand, DEPENDS repeats the layer table.
function(ingot_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(ingot_${name} STATIC ${arg_SOURCES})
  set(dependencies)
  foreach(dependency ${arg_DEPENDS})
    if(dependency MATCHES "::")
      list(APPEND dependencies ${dependency})
    else()
      list(APPEND dependencies ingot_${dependency})
    endif()
  endforeach()
  target_link_libraries(ingot_${name} PUBLIC ingot_flags ${dependencies})
endfunction()

# ingot_test(NAME LABEL unit SOURCES a_test.cc DEPENDS layer… [ARGS …])
# makes a GoogleTest program and one ctest of that name and label.
function(ingot_test name)
  if(NOT INGOT_DEVELOPER)
    return()
  endif()
  cmake_parse_arguments(arg "" "LABEL" "SOURCES;DEPENDS;ARGS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  set(dependencies)
  foreach(dependency ${arg_DEPENDS})
    if(dependency MATCHES "::")
      list(APPEND dependencies ${dependency})
    else()
      list(APPEND dependencies ingot_${dependency})
    endif()
  endforeach()
  target_link_libraries(${name} PRIVATE ${dependencies} GTest::gtest_main)
  # Of a test the compile is what takes time: a third less than with -O3. GCC 12 then sees frees of
  # what a Result does not hold.
  target_compile_options(${name} PRIVATE -O1 -Wno-free-nonheap-object)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)  # support/
  target_compile_definitions(${name} PRIVATE INGOT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name} ${arg_ARGS} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABEL}" TIMEOUT 600)
endfunction()
