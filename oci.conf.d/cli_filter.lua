-- Lets users write `srun --container docker://ubuntu:24.04 ...`, and sbatch and salloc with
-- it. Copy this file as cli_filter.lua to the directory of slurm.conf on the hosts where
-- jobs are submitted, and add to slurm.conf there:
--
--     CliFilterPlugins=cli_filter/lua
--
-- A site that has a cli_filter.lua already adds the function ocishim_container to it, and
-- calls it from slurm_cli_pre_submit as below.
--
-- What is no absolute path of a directory is looked up by `ocishim image stub`, which prints
-- the path of a bundle that stands for the image, by its digest: an image by name, an image or
-- an environment that is a file, an environment by name. An image that does not exist,
-- or needs other credentials, is an error here, before there is a job.

local ocishim = "ocishim" -- or its path

-- is_file reports whether the path leads to a file here, and not to a directory or nothing. A
-- bundle may be on the compute hosts only.
local function is_file(path)
	local file = io.open(path, "r")
	local byte = file and file:read(1)
	if file then
		file:close()
	end
	return byte ~= nil
end

-- ocishim_container replaces the name of an image in options.container by the path of a
-- bundle. It returns slurm.SUCCESS, or slurm.ERROR after a message of ocishim's.
function ocishim_container(options)
	local name = options["container"]
	if name == nil or name == "" or (name:sub(1, 1) == "/" and not is_file(name)) then
		return slurm.SUCCESS
	end
	if name:find("[%c]") then
		slurm.log_error("--container: a control character in the name of the image")
		return slurm.ERROR
	end
	-- In single quotes the shell takes everything as it is but the quote itself.
	local quoted = "'" .. name:gsub("'", "'\\''") .. "'"
	local pipe = io.popen(ocishim .. " image stub -- " .. quoted, "r")
	local path = pipe:read("*l") -- as Lua 5.1 spells it, and later ones take it
	pipe:close()
	if path == nil or path:sub(1, 1) ~= "/" then
		slurm.log_error("--container %s: ocishim found no such image", name)
		return slurm.ERROR
	end
	options["container"] = path
	return slurm.SUCCESS
end

function slurm_cli_setup_defaults(options, early_pass)
	return slurm.SUCCESS
end

function slurm_cli_pre_submit(options, pack_offset)
	return ocishim_container(options)
end

function slurm_cli_post_submit(offset, job_id, step_id)
	return slurm.SUCCESS
end
