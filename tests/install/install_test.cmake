# An installed tree is enough: an outside project builds against it, and the
# installed binary finds the installed demo models.

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result WORKING_DIRECTORY ${SCRATCH_DIR})
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN}: exit code ${result}")
  endif()
endfunction()

file(REMOVE_RECURSE ${SCRATCH_DIR})
file(MAKE_DIRECTORY ${SCRATCH_DIR})
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${SCRATCH_DIR}/prefix)
run(${CMAKE_COMMAND} -S ${SOURCE_DIR}/consumer -B ${SCRATCH_DIR}/consumer -G Ninja
    -DCMAKE_PREFIX_PATH=${SCRATCH_DIR}/prefix)
run(${CMAKE_COMMAND} --build ${SCRATCH_DIR}/consumer)
run(${SCRATCH_DIR}/consumer/consumer ${SCRATCH_DIR}/prefix/share/ingot/models)
run(${SCRATCH_DIR}/prefix/bin/ingot run "a blue ball" --size 64x64 --steps 1 --seed 1 -o ball.png)
