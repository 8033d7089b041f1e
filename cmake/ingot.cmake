# Functions that every folder of src/ uses: one library a layer, tests beside it.

# Flags of every target of Ingot.
add_library(ingot_flags INTERFACE)
# Options of the C++ compiler, which nvcc hands on to it for the host's side of a kernel's source.
function(ingot_compile_options)
  list(JOIN ARGN "," joined)
  target_compile_options(ingot_flags INTERFACE
    $<BUILD_INTERFACE:$<IF:$<COMPILE_LANGUAGE:CUDA>,-Xcompiler=${joined},${ARGN}>>)
endfunction()
target_compile_features(ingot_flags INTERFACE cxx_std_20)
target_include_directories(ingot_flags INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
                           $<INSTALL_INTERFACE:include/ingot>)
# -ffp-contract=off: the same bits on every x86 level (promise P5).
target_compile_options(ingot_flags INTERFACE $<BUILD_INTERFACE:-ffp-contract=off>)
if(INGOT_DEVELOPER)
  # Designated initializers leave out what keeps its default, on purpose.
  target_compile_options(ingot_flags INTERFACE $<BUILD_INTERFACE:-Wall -Wextra -Werror
                         -Wno-missing-field-initializers>)
endif()
if(INGOT_SANITIZE)
  target_compile_options(ingot_flags INTERFACE -fsanitize=${INGOT_SANITIZE}
                         -fno-sanitize-recover=all -fno-omit-frame-pointer)
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
