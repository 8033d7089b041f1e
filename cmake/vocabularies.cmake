# The vocabularies of CLIP and T5 as bytes in the program, where tools/fetch_vocabularies.py has
# brought them; else empty ones. Run that tool, then configure.

set(INGOT_VOCABULARY_DIR ${PROJECT_SOURCE_DIR}/build/vocabularies CACHE PATH
    "Where tools/fetch_vocabularies.py put merges.txt and spiece.model")

# ingot_embed_vocabularies(SOURCE) tells SOURCE which files to hold.
function(ingot_embed_vocabularies source)
  foreach(vocabulary CLIP_MERGES:merges.txt T5_MODEL:spiece.model)
    string(REPLACE ":" ";" vocabulary ${vocabulary})
    list(GET vocabulary 0 name)
    list(GET vocabulary 1 file)
    set(path ${INGOT_VOCABULARY_DIR}/${file})
    if(NOT EXISTS ${path})
      message(STATUS "No ${file} in ${INGOT_VOCABULARY_DIR}: this build has no such vocabulary")
      set(path ${CMAKE_CURRENT_BINARY_DIR}/no_${file})
      file(TOUCH ${path})
    endif()
    set_property(SOURCE ${source} APPEND PROPERTY COMPILE_DEFINITIONS INGOT_${name}_FILE="${path}")
    set_property(SOURCE ${source} APPEND PROPERTY OBJECT_DEPENDS ${path})
  endforeach()
endfunction()
