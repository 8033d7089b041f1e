# The files of web/ as bytes in the program.

# ingot_embed_web(SOURCE) tells SOURCE which files to hold: it includes server/web_files.inc, a line
# INGOT_WEB_FILE(number, "views/create.js", "/path/of/web/views/create.js") each.
function(ingot_embed_web source)
  file(GLOB_RECURSE files RELATIVE ${PROJECT_SOURCE_DIR}/web CONFIGURE_DEPENDS
       ${PROJECT_SOURCE_DIR}/web/*.html ${PROJECT_SOURCE_DIR}/web/*.css
       ${PROJECT_SOURCE_DIR}/web/*.js ${PROJECT_SOURCE_DIR}/web/*.svg)
  set(lines "")
  set(digests "")
  set(number 0)
  foreach(file ${files})
    set(path ${PROJECT_SOURCE_DIR}/web/${file})
    string(APPEND lines "INGOT_WEB_FILE(${number}, \"${file}\", \"${path}\")\n")
    math(EXPR number "${number} + 1")
    file(SHA256 ${path} digest)
    string(APPEND digests ${digest})
    set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
  endforeach()
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/embedded/server/web_files.inc
       CONTENT "${lines}" @ONLY)
  set_property(SOURCE ${source} APPEND PROPERTY INCLUDE_DIRECTORIES
               ${CMAKE_CURRENT_BINARY_DIR}/embedded)
  # A changed file is a changed command: no build and no compiler cache sees through .incbin.
  string(SHA256 digest "${digests}")
  set_property(SOURCE ${source} APPEND PROPERTY COMPILE_DEFINITIONS INGOT_WEB_DIGEST="${digest}")
endfunction()
