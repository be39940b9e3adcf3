"""Small tables as instruments and other programs write them: three or four rows each, the pixel 0.1 um."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io

PIXEL_UM = 0.1
NSTORM = (
    "Channel Name\tX\tY\tXc\tYc\tHeight\tArea\tWidth\tPhi\tAx\tBG\tI\tFrame\tLength\tLink\tValid\tZ\tZc\tPhotons\t"
    "Lateral Localization Accuracy\tXw\tYw\tXwc\tYwc\tZw\tZwc\n"
    "647\t1000\t2000\t1010\t2020\t90\t700\t310\t0\t1.1\t50\t800\t1\t1\t-1\t1\t100\t90\t950.5\t12.5\t1001\t2001\t1011\t2021\t101\t91\n"
    "561\t3000\t4000\t3010\t4020\t91\t701\t311\t0\t1.0\t51\t801\t5\t3\t-1\t1\t-50\t-60\t850\t0\t3001\t4001\t3011\t4021\t-49\t-59\n"
    "647\t500\t600\t510\t620\t92\t702\t312\t0\t0.9\t52\t802\t7\t1\t-1\t1\t0\t-10\t750\t14\t501\t601\t511\t621\t1\t-9\n"
)
NSTORM_5 = (
    "ID\tX\tY\tZ\tLateral Localization Accuracy\tChannel\tFrame\tColor\tI\tWidth\tBG\tLength\tHeight\tArea\tPhi\t"
    "Axis Ratio\tValid\tLink\tXc\tYc\tZc\tXw\tYw\tZw\tXwc\tYwc\tZwc\r\r\n"
    "1\t1000\t2000\t100\t12.5\t647\t1\t0\t800\t310\t50\t1\t90\t700\t0\t1.1\t1\t-1\t1010\t2020\t90\t0\t0\t0\t0\t0\t0\r\r\n"
    "2\t3000\t4000\t-50\t13\tZ Rejected\t5\t0\t801\t311\t51\t2\t91\t701\t0\t1\t1\t-1\t3010\t4020\t-60\t"
    "0\t0\t0\t0\t0\t0\r\r\n"
)
VUTARA = (
    "image-ID,time-point,cycle,z-step,frame,accum,probe,photon-count,photon-count11,psfx,psfy,psf-photon-count,x,y,z,"
    "background11,chisq,log-likelihood,fiducial,valid,precisionx,precisiony,precisionz\n"
    "0,0,0,0,0,1,0,900,450,1.1,1.2,880,1000.5,2000,-100,12,1.5,-300,0,1,10,11,30\n"
    "8,0,0,1,3,1,1,800,400,1.1,1.2,780,3000,4000,250,13,1.6,-310,0,0,0,0,0\n"
)
ONI = (
    "Channel,Frame,X (nm),Y (nm),Z (nm),X precision (nm),Y precision (nm),X (pix),Y (pix),Z (pix),X precision (pix),"
    "Y precision (pix),Photons,Background,PSF Sigma X (pix),PSF Sigma Y (pix),Sigma X var,p-value\n"
    "0,0,11700.00,5850.00,120,9.36,8.19,100.00,50.00,1.03,0.08,0.07,950.5,12.5,1.2,1.3,0.01,0.97\n"
    "1,4,23400.00,1170.00,-30,10.53,0,200.00,10.00,-0.26,0.09,0,850,13,1.1,1.4,0.02,0.5\n"
)
LEICA = (
    "stackID(UINT32),frameID(UINT32),eventID(UINT32),x0(float),y0(float),z0(float),photon_count(float),n_raw(UINT32)"
)
LEICA_ROWS = (
    (0, 1, 1, 10.5, 20.25, -120.5, 900.5, 3),
    (0, 4, 1, 11.0, 30.0, 1e36, 800.0, 4),
    (1, 1, 1, 64.0, 12.0, 40.0, 700.0, 5),
)
ABBELIGHT = (
    '"id","frame","x [nm]","y [nm]","z [nm]","sigma [nm]","intensity [photon]","amplitude [photon]","offset [photon]",'
    '"bkgstd [photon]","uncertainty_xy [nm]","intDemixing [photon]","sigma_x [nm]","sigma_y [nm]","detections",'
    '"ratio_demixing"\n'
    "1,1,1000,2000,100,140,900,60,12,4,10,300,150,130,1,0.25\n"
    "2,5,3000,4000,-50,141,800,61,13,5,11,310,151,131,3,0.26\n"
)
ELYRA = (
    "Index\tFirst Frame\tNumber Frames\tFrames Missing\tPosition X [nm]\tPosition Y [nm]\tPrecision [nm]\t"
    "Number Photons\t"
    "Background variance\tChi square\tPSF half width [nm]\tChannel\tZ Slice\n"
    "1\t1\t1\t0\t1000\t2000\t8.5\t470\t5.3\t0.28\t110\t1\t1\n2\t7\t4\t1\t3000\t4000\t4.5\t1900\t5.4\t0.3\t112\t2\t1\n"
    "\0\0VoxelSizeX : 0.1 \xb5m\n"
)
_TEXTS = {
    "nstorm": ("nstorm.txt", NSTORM),
    "nstorm-5": ("nstorm5.txt", NSTORM_5),
    "vutara": ("particles.csv", VUTARA),
    "oni": ("oni.csv", ONI),
    "gsdim": ("events.ascii", "#" + LEICA + "\n" + "".join(",".join(map(str, row)) + "\n" for row in LEICA_ROWS)),
    "abbelight": ("neo.csv", ABBELIGHT),
    "elyra": ("elyra.txt", ELYRA),
}


def make_tables(folder: Path) -> dict[str, Path]:
    """One file of every format that is read and not written, by name."""
    files = {}
    for name, (file, text) in _TEXTS.items():
        files[name] = folder / file
        files[name].write_text(text, encoding="latin-1", newline="")
    files["h5r"] = make_h5r(folder / "fits.h5r")
    files["smap-7.3"] = make_sml(folder / "new_sml.mat")
    return files


def make_h5r(path: Path) -> Path:
    """Fits as PYME keeps them: nested columns, an error of -5000 where there is none, metadata as attributes."""
    fit = [(name, "<f4") for name in ("A", "x0", "y0", "sigma", "background")]
    row = np.dtype([("tIndex", "<i4"), ("fitResults", fit), ("fitError", fit), ("resultCode", "<i4")])
    rows = np.zeros(3, row)
    rows["tIndex"], rows["resultCode"] = [0, 4, 9], [1, 1, 5]
    for name, values in (("x0", [0, 500, 1234.5]), ("y0", [0, 200, 77]), ("sigma", [120, 121, 122]), ("A", 300)):
        rows["fitResults"][name] = values
    rows["fitError"]["x0"], rows["fitError"]["y0"] = [-5000, 10, 12], [-5000, 11, 13]
    with h5py.File(path, "w") as file:
        file["FitResults"] = rows
        size, camera = file.create_group("MetaData/voxelsize"), file.create_group("MetaData/Camera")
        size.attrs["x"], size.attrs["y"] = PIXEL_UM, PIXEL_UM
        camera.attrs["ROIWidth"], camera.attrs["ROIHeight"], camera.attrs["CycleTime"] = 64, 48, 0.05
    return path


def sml(**info) -> dict:
    """A SMAP list of three rows as scipy writes and reads it; `info` says more of its movie."""
    loc = {
        "xnm": [100.0, 650.0, 1250.0],
        "ynm": [100.0, 350.0, 750.0],
        "znm": [0.0, 250.0, -40.0],
        "frame": [1.0, 7.0, 9.0],
        "phot": [900.0, 800.0, 700.0],
        "bg": [5.0, 6.0, 7.0],
        "locprecnm": [10.0, 11.0, 12.0],
        "locprecznm": [30.0, 31.0, 32.0],
        "channel": [0.0, 1.0, 0.0],
        "filenumber": [1.0, 1.0, 1.0],
        "LLrel": [-1.0, -1.1, -1.2],
        "xpix": [1.0, 6.5, 12.5],
    }
    about = {
        "cam_pixelsize_um": [PIXEL_UM, PIXEL_UM],
        "Width": 64.0,
        "Height": 48.0,
        "numberOfFrames": 20.0,
        "exposure": 50.0,
    }
    loc = {name: np.array(values)[:, None] for name, values in loc.items()}
    return {"saveloc": {"loc": loc, "file": {"info": about | info, "name": "a"}}, "fileformat": {"name": "sml"}}


def make_sml(path: Path, saved: dict | None = None) -> Path:
    """The list as MATLAB 7.3 keeps it: HDF5 behind 512 bytes that say so, a row of values per column."""
    with h5py.File(path, "w", userblock_size=512) as file:
        _put(file, saved or sml())
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def make_sml_5(path: Path, saved: dict | None = None, compressed: bool = False) -> Path:
    """The list as MATLAB 5 keeps it, or, compressed, MATLAB 7."""
    scipy.io.savemat(path, saved or sml(), oned_as="column", do_compression=compressed)
    return path


def _put(group: h5py.Group, values: dict) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _put(group.create_group(name), value)
        elif isinstance(value, str):
            group[name] = np.array([[ord(letter)] for letter in value], np.uint16)
        else:
            group[name] = np.atleast_2d(np.asarray(value, np.float64)).T
