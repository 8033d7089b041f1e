# `cmake --install`: the binary, the demo models, and the libraries with a package config.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS ingot DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/demo/models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/ingot/models)

set(layers base tensor graph formats text sampling models library devices devices_cpu devices_cuda devices_sim
           memory runtime pipeline engine jobs)
list(TRANSFORM layers PREPEND ingot_)
install(TARGETS ingot_flags ${layers} EXPORT ingotTargets)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/src/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ingot
        FILES_MATCHING PATTERN "*.h" PATTERN cli EXCLUDE)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ingot)
install(EXPORT ingotTargets NAMESPACE ingot:: DESTINATION ${package_dir})
configure_file(${PROJECT_SOURCE_DIR}/cmake/ingot-config.cmake.in ingot-config.cmake @ONLY)
write_basic_package_version_file(ingot-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ingot-config.cmake
              ${PROJECT_BINARY_DIR}/ingot-config-version.cmake DESTINATION ${package_dir})
